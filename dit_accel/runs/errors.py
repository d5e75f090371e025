"""What can be wrong with a run folder or with an image in it."""

from __future__ import annotations

from pathlib import Path

from dit_accel.errors import DitAccelError


class RunFolderError(DitAccelError):
    """A run folder that is refused, or a file in it that cannot be written."""


class UnreadableImage(DitAccelError):  # noqa: N818 - said as a state, not as a failure
    """An image that is missing, cut off or not the one that its record tells of."""


def cannot_read(path: Path, error: OSError) -> RunFolderError:
    """Word a failed read of one of the folder's own documents."""
    return RunFolderError(
        f"cannot read {path}: {error.strerror or error}; make it readable for this user, then run "
        "the same command again"
    )


def cannot_write(path: Path, error: OSError) -> RunFolderError:
    """Word a failed write: which file, why, and how to go on."""
    return RunFolderError(
        f"cannot write {path}: {error.strerror or error}; nothing finished before is lost, and no "
        "cut-off file stays: put this right (space, quota, permissions), then run the same "
        "command again, which goes on from here"
    )
