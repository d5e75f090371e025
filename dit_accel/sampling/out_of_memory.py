"""Out of memory: recognised on every device, and everything of the failed batch let go."""

from __future__ import annotations

import gc
from typing import Any

import torch

from dit_accel.install import installation_of

# CPU allocator, cuBLAS and cuDNN raise plain RuntimeErrors.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory, of a device or of the machine, has run out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)


def free_memory(pipe: Any) -> None:
    """Free what a failed batch has left: caches of the plan, garbage, cached device blocks.

    To be called when the exception is gone: its traceback keeps every tensor of the batch alive.
    """
    installation = installation_of(pipe)
    if installation is not None:
        installation.end_run()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
