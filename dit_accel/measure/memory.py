"""Peak memory of a call: allocator's peak on CUDA, growth of the resident set on Linux CPUs."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
CUDA_PEAK = "CUDA max_memory_allocated"
RSS_INCREASE = "peak RSS increase"


@dataclass(frozen=True)
class PeakMemory:
    """Bytes and what they mean; ``bytes`` is ``None`` where the platform reports nothing."""

    bytes: int | None
    kind: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        return {"bytes": self.bytes, "kind": self.kind}


def peak_memory(call: Callable[[], Any], device: torch.device) -> PeakMemory:
    """Run ``call`` and report its peak.

    On CUDA this is all that was allocated at the peak, weights included. On a CPU it is how far
    the process's resident set rose above its size before the call, and it is labelled so: memory
    that the allocator still held from before is not seen, though it is asked to give it back.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return PeakMemory(torch.cuda.max_memory_allocated(device), CUDA_PEAK)
    before = _reset_peak_rss()
    call()
    after = _status_bytes("VmHWM") if before is not None else None
    increase = None if before is None or after is None else max(after - before, 0)
    return PeakMemory(increase, RSS_INCREASE)


def _reset_peak_rss() -> int | None:
    """Set the kernel's high-water mark to the present size, and return that size."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return None
    return _status_bytes("VmRSS")


def _status_bytes(field: str) -> int | None:
    found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else None
