"""An image set on a Ray cluster: an actor for every GPU that there is, was lost, or is to come.

Ray only finds places and tells of deaths. The ranks are those of ``sampling.worker`` and share
the run folder through manifests and claims, so that nothing has to be agreed on when one dies.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from dit_accel.errors import DitAccelError, mismatch
from dit_accel.runs.folder import RunFolder
from dit_accel.runs.manifest_reading import count_images
from dit_accel.sampling.preparing import PreparedSampling
from dit_accel.sampling.ranks.ray_actor import Observe, Order, SamplingActor, no_observers
from dit_accel.sampling.ranks.set_progress import SetProgress, show_lines
from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.ranks.stopping import StopRequest, stop_on_signals
from dit_accel.sampling.ranks.worker import SamplingError, Say, open_run_folder, say_on_stderr

_POLL_SECONDS = 0.5
_OBJECT_STORE_BYTES = 128 << 20  # of a cluster of our own: images never pass through Ray
# Deaths for each actor, with no image made in between, after which something else must be wrong.
_FUTILE_DEATHS = 3


def sample_with_ray(
    prepared: PreparedSampling,
    *,
    workers: int | None = None,
    address: str | None = None,
    observe: Observe = no_observers,
    say: Say = say_on_stderr,
    display: Callable[[RunFolder], AbstractContextManager[None]] = show_lines,
) -> SetProgress:
    """Make a set with actors of a Ray cluster; the run folder has to be on a shared file system.

    Args:
        prepared: what to make, and where.
        workers: actors to have at a time. By default as many as the cluster has GPUs (without
            any: CPUs), also when that number changes meanwhile.
        address: of a cluster. By default ``RAY_ADDRESS``, else one that runs on this machine,
            else one that is started for this set and stopped after it.
        observe: makes, in each actor, the observers of ``sample_set``; must be importable there.
        say: told of actors that come and go.
        display: shows the progress of the whole set; see ``set_progress``.

    Raises:
        DitAccelError: ``workers`` below 1, or no cluster at the address.
        RunFolderError: the folder holds another set, or something else.
        SamplingError: an actor cannot go on; the others have stopped after their batch in hand.
    """
    if workers is not None and workers < 1:
        raise DitAccelError("workers: " + mismatch(workers, "1 or more", "leave it out, or 1"))
    begin, folder = time.monotonic(), open_run_folder(prepared)
    order = Order(prepared.config, os.getcwd(), observe)
    # Ray handles SIGTERM from its start on: ours are put in after it.
    with _cluster(address), stop_on_signals() as stop, display(folder):
        for notice in folder.notices:
            say(notice)
        made = _Crew(order, folder, workers, stop, say).work()
    complete, seconds = count_images(folder), time.monotonic() - begin
    if complete < folder.num_samples and not stop.requested:
        raise SamplingError(
            f"{folder.path}: {complete} of {folder.num_samples} images are there, although every "
            "actor has finished; put the run folder on a file system that all nodes share"
        )
    return SetProgress(folder.num_samples, complete, made, seconds, stop.exit_code)


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Be connected to a cluster: the caller's, a running one, or one of our own."""
    if ray.is_initialized():
        yield
        return
    _connect(address)
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        ray.init(address=address or "auto")
    except ConnectionError as error:
        if address:
            remedy = "start it with 'ray start --head', or correct the address or RAY_ADDRESS"
            raise DitAccelError(
                "address: " + mismatch(address, "a Ray cluster that runs", remedy)
            ) from error
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent home unasked
        ray.init("local", include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES)


class _Crew:
    """Hires actors, gives each a rank, and gives the rank of one that died to another.

    A rank is handed out when its actor has found a place: one that waits for a machine holds none.
    """

    def __init__(
        self, order: Order, folder: RunFolder, workers: int | None, stop: StopRequest, say: Say
    ) -> None:
        self._folder, self._workers, self._stop, self._say = folder, workers, stop, say
        self._resource = "GPU" if _places().get("GPU") else "CPU"
        self._actors: Any = ray.remote(SamplingActor)
        self._order = ray.put(order)
        self._world = self._wanted()
        self._ranks = deque(range(self._world))  # that no actor has in hand
        self._coming: dict[Any, Any] = {}  # "ready" -> actor
        self._at_work: dict[Any, tuple[Any, int]] = {}  # "sampled" -> actor, rank
        self._some_finished = self._told_to_stop = False
        self._deaths, self._images = 0, count_images(folder)
        self._error: SamplingError | None = None
        self._made = 0

    def work(self) -> int:
        """Go on until every rank is done, or stopped; return how many images were made.

        Raises:
            SamplingError: an actor failed.
        """
        try:
            while self._ranks or self._at_work:
                if self._stop.requested or self._error:
                    self._tell_to_stop()
                else:
                    self._hire()
                self._wait()
        finally:
            for actor in (*self._coming.values(), *(actor for actor, _ in self._at_work.values())):
                ray.kill(actor)
        if self._error:
            raise self._error
        return self._made

    def _wanted(self) -> int:
        """Actors to have now; not more than there are blocks."""
        wanted = self._workers or int(_places().get(self._resource, 0))
        return max(1, min(wanted, len(self._folder.blocks())))

    def _hire(self) -> None:
        """Ask for actors until there is one for every place, also for one that came up just now."""
        # The first to finish has found nothing left to do but what others have in hand.
        wanted = len(self._ranks) if self._some_finished else self._wanted()
        for _ in range(wanted - len(self._coming) - len(self._at_work)):
            gpus = 1 if self._resource == "GPU" else 0
            actor = self._actors.options(num_cpus=1, num_gpus=gpus, max_concurrency=2).remote()
            self._coming[actor.__ray_ready__.remote()] = actor

    def _wait(self) -> None:
        events = [*self._coming, *self._at_work]
        for event in ray.wait(events, timeout=_POLL_SECONDS)[0] if events else ():
            actor, rank = self._at_work.pop(event, None) or (self._coming.pop(event), None)
            try:
                result = ray.get(event)
            except RayTaskError as error:
                ray.kill(actor)
                self._fail(f"rank {rank}: {_first_line(error.cause)}")
            except RayError as error:  # the actor, or the machine under it
                ray.kill(actor)
                self._lose(rank, _first_line(error))
            else:
                self._some_finished |= rank is not None
                self._made += result if rank is not None else 0
                self._employ(actor)

    def _employ(self, actor: Any) -> None:
        """Give an actor that is free a rank, or send it away."""
        if not self._ranks and not self._some_finished and not self._told_to_stop:
            self._ranks.append(self._world)  # the cluster has grown
            self._world += 1
        if not self._ranks:
            ray.kill(actor)
            return
        rank = self._ranks.popleft()
        shard = Shard(rank, self._world)
        self._at_work[actor.sample.remote(self._order, shard)] = (actor, rank)

    def _lose(self, rank: int | None, reason: str) -> None:
        """An actor died: its rank is free again, and its claims on this run are void."""
        images = count_images(self._folder)
        self._deaths = self._deaths + 1 if images == self._images else 1
        self._images = images
        whose = "an actor" if rank is None else f"the actor of rank {rank}"
        if self._told_to_stop:
            self._say(f"{whose} died: {reason}")
        elif self._deaths >= _FUTILE_DEATHS * self._wanted():
            self._fail(f"{self._deaths} actors died and none made an image; the last: {reason}")
        else:
            self._say(f"{whose} died and is replaced: {reason}")
            self._ranks.extend([] if rank is None else [rank])

    def _fail(self, message: str) -> None:
        self._error = self._error or SamplingError(message)

    def _tell_to_stop(self) -> None:
        """Once: hand out nothing any more, and ask those at work to finish their batch."""
        if self._told_to_stop:
            return
        self._told_to_stop = True
        self._ranks.clear()
        for actor in self._coming.values():
            ray.kill(actor)
        self._coming.clear()
        for actor, _ in self._at_work.values():
            actor.stop.remote(self._stop.signal or signal.SIGTERM)


def _places() -> dict[str, float]:
    """What all machines of the cluster have, in use or not."""
    ask: Any = ray.cluster_resources  # which has no annotations
    places: dict[str, float] = ask()
    return places


def _first_line(error: BaseException) -> str:
    """What happened, without Ray's paragraphs on where to look further."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
