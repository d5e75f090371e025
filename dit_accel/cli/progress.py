"""One progress bar for every command that takes longer than a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from diffusers.utils import logging as diffusers_logging
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers.utils import logging as transformers_logging


def quiet_diffusers() -> None:
    """Keep diffusers' loading bars, which would tear ours, and its remarks off the terminal.

    The tokenizers' too: of a prompt that is too long, all three would speak.
    """
    diffusers_logging.disable_progress_bar()
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar on standard error; call the yielded function with what has just finished."""
    with _bar() as progress:
        task = progress.add_task(title, total=total)

        def advance(finished: str) -> None:
            progress.update(task, advance=1, description=f"{title}: {finished}")

        yield advance


@contextmanager
def phase_bar(title: str, shown: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for phases of known lengths, or nothing at all.

    Call the yielded function with the phase, how much of it is done, and of how much.
    """
    with _bar(shown) as progress:
        task = progress.add_task(title, total=None)

        def report(phase: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, description=f"{title}: {phase}")

        yield report


def _bar(shown: bool = True) -> Progress:
    quiet_diffusers()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), disable=not shown)
