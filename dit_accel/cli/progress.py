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
    quiet_diffusers()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total)

        def advance(finished: str) -> None:
            progress.update(task, advance=1, description=f"{title}: {finished}")

        yield advance
