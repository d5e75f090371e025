"""Values of small tensors on the host, read from the device as seldom as can be.

A tensor is known without a read if it is the one that was read before (the same object in the same
version: labels that a pipeline passes at every step), or a view of one entry of the scheduler's
timesteps, which are read once a run. Anything else costs one small read a forward.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch

# Tensors that are remembered: conditions of a few guidance calls.
_REMEMBERED = 8


@dataclass(frozen=True)
class _Read:
    tensor: weakref.ref[torch.Tensor]
    version: int
    values: list[float]


class HostValues:
    """Reads tensors, and remembers what it read."""

    def __init__(self) -> None:
        self._reads: list[_Read] = []
        self._timesteps: torch.Tensor | None = None
        self._timesteps_version = 0
        self.upcoming: list[float] = []

    def expect(self, timesteps: torch.Tensor | None) -> None:
        """A scheduler's timesteps `[S]`; read if they are not the ones that are known."""
        if timesteps is None or timesteps.is_inference():
            self._timesteps, self.upcoming = None, []
        elif timesteps is not self._timesteps or timesteps._version != self._timesteps_version:
            # Held, so that no other tensor can come to lie at its address.
            self._timesteps, self._timesteps_version = timesteps, timesteps._version
            self.upcoming = timesteps.flatten().tolist()

    def read(self, tensor: torch.Tensor) -> list[float]:
        """All values of `tensor`, flat."""
        if tensor.is_inference():  # no version tells whether it was written to
            return list(tensor.flatten().tolist())
        entry = self._timestep(tensor)
        if entry is not None:
            return [entry] * tensor.numel()
        for read in self._reads:
            if read.tensor() is tensor and read.version == tensor._version:
                return read.values
        values = tensor.flatten().tolist()
        read = _Read(weakref.ref(tensor), tensor._version, values)
        self._reads = [read, *self._reads][:_REMEMBERED]
        return list(values)

    def _timestep(self, tensor: torch.Tensor) -> float | None:
        """The scheduler's timestep that `tensor` is an expanded view of, if it is one."""
        known = self._timesteps
        if known is None or known.ndim != 1 or known.stride(0) != 1 or not tensor.numel():
            return None
        if (tensor.dtype, tensor.device) != (known.dtype, known.device):
            return None
        if known._version != self._timesteps_version:
            return None
        if tensor.untyped_storage().data_ptr() != known.untyped_storage().data_ptr():
            return None
        if any(step and size > 1 for size, step in zip(tensor.shape, tensor.stride(), strict=True)):
            return None
        index = tensor.storage_offset() - known.storage_offset()
        return self.upcoming[index] if 0 <= index < len(self.upcoming) else None
