"""Snapshots of one site, in memory that is taken once and written in place.

The addresses stay, so that compiled steps and CUDA graphs can hold them. Each row goes round its
slots by itself (`timeline.RowTimeline`), so that rows which are absent or forecast keep theirs.
"""

from __future__ import annotations

import torch

from dit_accel.forecast.predict import weighted_sum
from dit_accel.methods.caching.norm_guard import NormGuard


class Ring:
    """`[K, R, ...]`, allocated at the first push.

    Args:
        capacity: `K`, snapshots a row.
        num_rows: `R`.
        dtype: of the snapshots; `None` for that of what is pushed.
        guard: judges forecasts of this site, if any.

    Attributes:
        start: where the span began, kept from the opening of a span to its closing.
        pending: a forecast that was made before it was known to be wanted.
        inputs: what entered the site at each row's newest snapshot, for predictors that ask.
    """

    def __init__(
        self,
        capacity: int,
        num_rows: int,
        dtype: torch.dtype | None = None,
        guard: NormGuard | None = None,
    ) -> None:
        self.capacity, self.num_rows, self.guard = capacity, num_rows, guard
        self.start: torch.Tensor | None = None
        self.pending: torch.Tensor | None = None
        self.buffer: torch.Tensor | None = None
        self.inputs: Ring | None = None
        self._dtype = dtype

    def places(self, slot: int, device: torch.device) -> torch.Tensor:
        """Where the snapshots of all rows go if they share a slot: int64 `[R]`, without waiting."""
        rows = torch.arange(self.num_rows) + slot * self.num_rows
        return rows.to(device, non_blocking=True)

    def push(
        self, values: torch.Tensor, places: torch.Tensor, mask: torch.Tensor | None = None
    ) -> None:
        """Write one snapshot a row, in place.

        Args:
            values: `[P, ...]`.
            places: int64 `[P]`, `slot * R + row` of each.
            mask: bool `[P]`, rows that are written; all if `None`.
        """
        # A history is a constant: gradients do not flow through earlier steps.
        values = values.detach()
        if self.buffer is None:
            shape = (self.capacity, self.num_rows, *values.shape[1:])
            # Zeros, not empty: slots that are not filled yet weigh nothing, but must be finite.
            self.buffer = torch.zeros(
                shape, dtype=self._dtype or values.dtype, device=values.device
            )
        flat = self.buffer.flatten(0, 1)
        values = values.to(flat.dtype)
        if mask is not None:
            kept = flat.index_select(0, places)
            values = torch.where(mask.reshape(-1, *[1] * (values.ndim - 1)), values, kept)
        flat.index_copy_(0, places, values)

    def forecast(self, weights: torch.Tensor, first: int, stop: int) -> torch.Tensor:
        """Weighted sum over the slots of the rows `[first, stop)`: `[P, N, C]`.

        Args:
            weights: `[K]`, `[K, P]` or `[K, P, N]`, in the order of the slots.
            first: first row.
            stop: the row after the last.
        """
        assert self.buffer is not None
        return weighted_sum(self.buffer[:, first:stop], weights)

    def add_change(
        self,
        forecast: torch.Tensor,
        now: torch.Tensor,
        weights: torch.Tensor,
        first: int,
        stop: int,
    ) -> torch.Tensor:
        """`forecast + weights * (now - newest snapshot)` of the rows `[first, stop)`.

        Args:
            forecast: `[P, ...]`.
            now: of the same shape.
            weights: `[P]` or one for all.
            first: first row.
            stop: the row after the last.
        """
        assert self.buffer is not None
        change = now.to(weights.dtype) - self.buffer[0, first:stop]
        factors = weights.reshape(-1, *[1] * (now.ndim - 1))
        return torch.addcmul(forecast.to(weights.dtype), factors, change).to(forecast.dtype)

    @property
    def weight_dtype(self) -> torch.dtype:
        """In which forecasts are summed up: at least float32."""
        assert self.buffer is not None
        return torch.promote_types(self.buffer.dtype, torch.float32)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return 0 if self.buffer is None else self.buffer.nbytes

    @property
    def total_bytes(self) -> int:
        """Bytes held, those of what entered included."""
        return self.nbytes + (0 if self.inputs is None else self.inputs.nbytes)
