"""How far a set is: shown while it is made, for all ranks, from what their manifests say."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dit_accel.runs.errors import RunFolderError
from dit_accel.runs.folder import RunFolder
from dit_accel.runs.manifest_reading import ManifestTail, read_manifest
from dit_accel.runs.throughput import RankSpeed, speed

BAR_SECONDS = 0.5
LINE_SECONDS = 10.0


@dataclass(frozen=True)
class SetProgress:
    """What one rank left behind.

    Attributes:
        num_samples: images of the complete set.
        complete: images that are there now, from all ranks.
        made: images that this rank made.
        seconds: wall-clock time that this rank took, loading included.
        exit_code: 0, or 128 + the signal that stopped this rank early.
    """

    num_samples: int
    complete: int
    made: int
    seconds: float
    exit_code: int = 0

    @property
    def is_complete(self) -> bool:
        """True if no image is missing."""
        return self.complete >= self.num_samples

    def __str__(self) -> str:
        return (
            f"made {self.made} images in {self.seconds:.0f} s; "
            f"{self.complete} of {self.num_samples} are there"
        )


@dataclass(frozen=True)
class Pace:
    """Images a second over all ranks since a start, and the time left at that speed."""

    total: int
    at_start: int
    now: int
    seconds: float

    @property
    def speed(self) -> float:
        """Images/s; 0 before the first."""
        return (self.now - self.at_start) / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        if self.now >= self.total:
            return f"{self.speed:.3g} images/s" if self.speed else "nothing left to do"
        if self.speed == 0:
            return "waiting for the first batch"
        left = timedelta(seconds=round((self.total - self.now) / self.speed))
        return f"{self.speed:.3g} images/s, {left} left"


def describe_set(folder: RunFolder) -> str:
    """A set's folder, its number of images, and its speed by rank and in all, on a line each."""
    manifest = read_manifest(folder)
    lines = [f"{folder.path}: {len(manifest)} of {folder.num_samples} images"]
    if (made := speed(manifest.values())) is not None:
        if len(made.ranks) > 1:
            lines += [f"rank {rank}: {_describe(part)}" for rank, part in made.ranks.items()]
        lines.append(f"in all: {_describe(made.total)}")
    return "\n".join(lines)


def _describe(part: RankSpeed) -> str:
    return (
        f"{part.images} images, {part.images_per_second:.3g} images/s, batches of "
        f"{part.batch_seconds_median:.3g} s (median; interquartile range "
        f"{part.batch_seconds_iqr:.2g} s)"
    )


@contextmanager
def show_nothing(folder: RunFolder) -> Iterator[None]:
    """Leave the screen to another rank."""
    yield


@contextmanager
def show_bar(folder: RunFolder) -> Iterator[None]:
    """Show one bar on standard error, for the images of all ranks."""
    columns = (
        TextColumn("images of all ranks"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=folder.num_samples)

        def show(pace: Pace) -> None:
            progress.update(task, completed=pace.now, description=str(pace))

        with _following(folder, BAR_SECONDS, show):
            yield


@contextmanager
def show_lines(folder: RunFolder) -> Iterator[None]:
    """Print a line on standard error now and then, for logs: only when something is new."""
    shown = -1

    def show(pace: Pace) -> None:
        nonlocal shown
        if pace.now != shown:
            shown = pace.now
            print(f"{pace.now}/{pace.total} images, {pace}", file=sys.stderr, flush=True)

    with _following(folder, LINE_SECONDS, show):
        yield


@contextmanager
def _following(folder: RunFolder, interval: float, show: Callable[[Pace], None]) -> Iterator[None]:
    """Call ``show`` every ``interval`` seconds from a thread of its own, and once at the end."""
    tail, start, ended = ManifestTail(folder), time.monotonic(), threading.Event()
    at_start = len(tail.refresh())

    def update() -> None:
        now, seconds = len(tail.refresh()), time.monotonic() - start
        show(Pace(folder.num_samples, at_start, now, seconds))

    def follow() -> None:
        while not ended.wait(interval):
            with suppress(RunFolderError):  # a file system's hiccup: the next look shows it all
                update()

    thread = threading.Thread(target=follow, name="dit-accel-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        update()
