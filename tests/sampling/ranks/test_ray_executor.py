"""Sets on a real Ray cluster of this machine, which grows and loses actors meanwhile."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sampling_process import files_of, images_of, prepared_set, recorded, wait_until

from dit_accel.errors import DitAccelError
from dit_accel.runs import RunFolder, read_manifest
from dit_accel.runs.errors import RunFolderError
from dit_accel.sampling.ranks.ray_actor import Order, SamplingActor, no_observers
from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.ranks.stopping import StopRequest
from dit_accel.sampling.ranks.worker import SamplingError, open_run_folder, sample_set

ray = pytest.importorskip("ray")
executor = pytest.importorskip("dit_accel.sampling.ranks.ray_executor")

_LONG = 200.0  # an actor imports torch, which on a busy machine takes its time


def patiently(start: Callable[[], Any]) -> Any:
    """Start processes of Ray, which gives up on them within seconds on a busy machine."""
    for attempt in range(3):
        try:
            return start()
        except Exception:  # Ray raises no narrower one
            if attempt == 2:
                raise


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One node with one place for an actor; a test may add others."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 100 << 20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("RAY_worker_niceness", "0")  # 15 by default: starved on a busy machine
        patch.setenv("OMP_NUM_THREADS", "1")
        head = {**options, "include_dashboard": False}
        nodes = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        try:
            ray.init(address=nodes.address, logging_level=logging.ERROR, log_to_driver=False)
            yield SimpleNamespace(grow=lambda: patiently(lambda: nodes.add_node(**options)))
        finally:
            ray.shutdown()
            nodes.shutdown()


def held_until(gate: Path) -> Callable[..., Any]:
    """An ``observe`` under which no actor gets further than three blocks until ``gate`` exists."""

    # Nested, so that Ray sends the function itself: actors cannot import this module.
    def observe(prepared: Any, folder: RunFolder, shard: Shard) -> Any:
        import time

        def hold(block: range, images: Any) -> None:
            while not gate.exists():
                time.sleep(0.02)

        return [hold]

    return observe


SET = {"num_samples": 24, "shard_size": 2, "batch_size": 2, "deterministic": True}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_cluster_grows_and_an_actor_is_killed(
    cluster: Any, tiny_pipeline: Path, tmp_path: Path
) -> None:
    undisturbed = prepared_set(tiny_pipeline, tmp_path / "undisturbed", **SET)
    sample_set(undisturbed, Shard())
    prepared, gate = prepared_set(tiny_pipeline, tmp_path / "run", **SET), tmp_path / "gate"
    folder, said = open_run_folder(prepared), list[str]()

    def pids(rank: int) -> list[int]:
        return [r.pid for r in read_manifest(folder).values() if r.rank == rank]

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            executor.sample_with_ray, prepared, observe=held_until(gate), say=said.append
        )
        try:
            wait_until(lambda: bool(pids(0)), _LONG)
            cluster.grow()
            wait_until(lambda: bool(pids(1)), _LONG)
            os.kill(pids(0)[-1], signal.SIGKILL)
        finally:
            gate.touch()
        progress = running.result()
    assert progress.is_complete and progress.exit_code == 0
    assert sum("rank 0 died and is replaced" in line for line in said) == 1
    assert len(files_of(tmp_path / "run")) == len(recorded(tmp_path / "run")) == 24
    expected = images_of(tmp_path / "undisturbed")
    for index, image in images_of(tmp_path / "run").items():
        assert (image == expected[index]).all()


def test_an_actor_asked_to_stop_finishes_its_batch(
    tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, actor = prepared_set(tiny_pipeline, tmp_path / "run", **SET), SamplingActor()
    folder = open_run_folder(prepared)
    monkeypatch.chdir(tmp_path)  # and back

    def observe(*place: Any) -> Any:
        return [lambda block, images: actor.stop(signal.SIGINT)]

    made = actor.sample(Order(prepared.config, str(tmp_path), observe), Shard())
    assert 2 <= made < 24 and made == len(read_manifest(folder))
    assert not list(folder.claims.glob("*.json"))


def test_a_node_that_does_not_share_the_folder_is_refused(
    tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepared_set(tiny_pipeline, Path("run"), **SET)
    monkeypatch.chdir(tmp_path)
    for directory in (tmp_path, tmp_path / "absent"):
        order = Order(prepared.config, str(directory), no_observers)
        with pytest.raises(RunFolderError, match="file system that all nodes"):
            SamplingActor().sample(order, Shard())
    assert not (tmp_path / "run").exists()


class _Crew:
    """A crew whose actors import nothing: what matters is who is hired, and what is heard of."""

    def __init__(self, prepared: Any, actor: type, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(executor, "SamplingActor", actor)
        monkeypatch.setattr(executor, "Shard", lambda *place: place)  # Shard would import torch
        self.said: list[str] = []
        self.stop = StopRequest()
        folder = open_run_folder(prepared)
        self.crew = executor._Crew(None, folder, 1, self.stop, self.said.append)


def test_an_actor_that_fails_ends_the_set(
    cluster: Any, tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def sample(self, order: None, shard: Any) -> int:
            raise OSError("disk full")

    crew = _Crew(prepared_set(tiny_pipeline, tmp_path / "run"), Failing, monkeypatch)
    with pytest.raises(SamplingError, match="rank 0: disk full"):
        crew.crew.work()


def test_stop_is_passed_on(
    cluster: Any, tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = tmp_path / "begun"

    class Patient:
        number = 0

        def sample(self, order: None, shard: Any) -> int:
            import time

            begun.touch()
            while not self.number:
                time.sleep(0.01)
            return int(self.number)

        def stop(self, number: int) -> None:
            self.number = number

    crew = _Crew(prepared_set(tiny_pipeline, tmp_path / "run"), Patient, monkeypatch)

    def ask() -> None:
        wait_until(begun.exists, _LONG)
        crew.stop.request(signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(ask)
        assert crew.crew.work() == signal.SIGINT


def test_actors_that_only_die_are_not_replaced_forever(
    cluster: Any, tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dying:
        def sample(self, order: None, shard: Any) -> int:
            os._exit(1)

    monkeypatch.setattr(executor, "_FUTILE_DEATHS", 1)
    crew = _Crew(prepared_set(tiny_pipeline, tmp_path / "run"), Dying, monkeypatch)
    with pytest.raises(SamplingError, match="actors died and none made an image"):
        crew.crew.work()


def test_finds_a_cluster_or_starts_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def init(address: str, **options: Any) -> None:
        calls.append(address)
        if address != "local":
            raise ConnectionError("nobody there")

    monkeypatch.setattr(executor.ray, "init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    executor._connect(None)
    assert calls == ["auto", "local"]
    for address, variable in (("ray:1", ""), (None, "ray:1")):
        monkeypatch.setenv("RAY_ADDRESS", variable)
        with pytest.raises(DitAccelError, match=r"'?ray:1'?.*ray start --head"):
            executor._connect(address)


def test_refuses_no_workers(tiny_pipeline: Path, tmp_path: Path) -> None:
    prepared = prepared_set(tiny_pipeline, tmp_path / "run")
    with pytest.raises(DitAccelError, match="workers: got 0, expected 1 or more"):
        executor.sample_with_ray(prepared, workers=0)
    assert not (tmp_path / "run").exists()
