"""The run state of a cache at site `output`: steps whose outputs are made of those of several.

Each row's conditional prediction of the data is remembered where it is computed, the guidance
difference where both guidance rows are. Every step returns the fitted guided prediction for both
rows of a sample, so that the pipeline's own guidance leaves it as it is. The step alone decides, so
all samples have one history; steps that are not computed do not call the transformer at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers.models.modeling_outputs import Transformer2DModelOutput

from dit_accel.forecast.predictors.multistep import mixed_bands
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.call_run import CallRun
from dit_accel.methods.caching.predictors.multistep import Multistep, MultistepRow
from dit_accel.methods.caching.ring import Ring
from dit_accel.methods.caching.timeline import RowTimeline


class OutputRun(CallRun):
    """One run of a batch.

    Args:
        config: the cache.
        num_samples: samples of the batch.
        guided: whether each has two rows.
        conditional_first: whether the conditional rows come first.
        channels: of the latents; what else a transformer returns (a variance) is left as it is.
        num_layers: blocks that do not run where nothing is computed.
    """

    def __init__(
        self,
        config: CacheConfig,
        num_samples: int,
        guided: bool,
        conditional_first: bool,
        channels: int,
        num_layers: int,
    ) -> None:
        assert isinstance(config.predictor, Multistep)
        super().__init__(config, num_samples, rows_per_sample=1 + guided)
        self._predictor, self._channels = config.predictor, channels
        self._cutoff = config.predictor.cutoff
        self.num_layers = num_layers
        first = num_samples if guided and not conditional_first else 0
        self._conditional = slice(first, first + num_samples)
        self._null = slice(num_samples - first, 2 * num_samples - first)
        kept, pairs = self._predictor.snapshots, max(1, self._predictor.differences)
        self._seen = Ring(kept, num_samples)
        self._differences = Ring(pairs, num_samples)
        self._seen_at, self._differences_at = RowTimeline(kept), RowTimeline(pairs)
        self._table: torch.Tensor | None = None
        self._latents: torch.Tensor | None = None
        # Where this step's values go; tensors, so that a compiled step does not depend on the slot.
        self._seen_places: torch.Tensor | None = None
        self._differences_places: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes remembered now."""
        return self._seen.nbytes + self._differences.nbytes

    def begin_step(self, step: int, compute: bool, all_rows: bool, latents: torch.Tensor) -> None:
        """The policy has decided on `step`.

        Args:
            step: which.
            compute: whether the transformer is called.
            all_rows: whether it then gets all rows: both of each sample where there is guidance.
            latents: that enter it, of all rows.

        Raises:
            RunError: the plan has no scalars for this step after these.
        """
        row = self._predictor.row(step)
        # At the start of a run a prediction of the data is a small difference of large numbers.
        dtype = torch.promote_types(latents.dtype, torch.float32)
        self._latents = latents[self._conditional].detach().to(dtype)
        self._seen_places = self._differences_places = None
        self.mode = "none"
        if compute:
            self.mode, self.last_computed = "all", step
            self._seen_at.record(step, None)
            self._seen_places = self._seen.places(self._seen_at.slot, latents.device)
        if compute and all_rows and self._predictor.differences:
            self._differences_at.record(step, None)
            at = self._differences_at.slot
            self._differences_places = self._differences.places(at, latents.device)
        self._predictor.check_history(row, self._seen_at.steps, self._differences_at.steps)
        table = torch.from_numpy(self._weights(row))
        if self._table is None:
            self._table = torch.zeros(table.shape, dtype=dtype, device=latents.device)
        self._table.copy_(table, non_blocking=True)

    def _weights(self, row: MultistepRow) -> npt.NDArray[np.float64]:
        """`p, q`, then the weights of both bands, those of snapshots in the order of the slots."""
        count = len(row.conditional)
        bands = [
            np.concatenate(
                [
                    self._seen_at.in_slots(np.asarray(weights[:count])),
                    self._differences_at.in_slots(np.asarray(weights[count:-1])),
                    weights[-1:],
                ]
            )
            for weights in (row.low, row.high)
        ]
        return np.concatenate([row.factors, *bands])

    def complete(self, output: torch.Tensor) -> torch.Tensor:
        """Put the fitted prediction in place of what was computed: `[R, channels, h, w]`."""
        table, latents = self._table, self._latents
        assert table is not None and latents is not None
        p, q, weights = table[0], table[1], table[2:].view(2, -1)
        self._remember(output[:, : self._channels].to(latents.dtype), latents, p, q)
        low, high = (self._combined(band, latents) for band in weights)
        prediction = mixed_bands(low, high, self._cutoff)
        fitted = ((prediction - p * latents) / q).to(output.dtype)
        both = fitted.repeat(self.rows_per_sample, 1, 1, 1)
        return torch.cat([both, output[:, self._channels :]], dim=1)

    def _remember(
        self, output: torch.Tensor, latents: torch.Tensor, p: torch.Tensor, q: torch.Tensor
    ) -> None:
        """What the transformer says, where it was called: `[R, C, h, w]`."""
        conditional = output[self._conditional]
        if self._seen_places is not None:
            self._seen.push((p * latents + q * conditional).flatten(2), self._seen_places)
        if self._differences_places is not None:
            null = output[self._null] if self.rows_per_sample == 2 else conditional
            difference = q * (conditional - null)
            self._differences.push(difference.flatten(2), self._differences_places)

    def _combined(self, weights: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        kept = self._seen.capacity
        total = self._seen.forecast(weights[:kept], 0, self.num_samples).view_as(latents)
        if self._differences.buffer is not None:
            differences = self._differences.forecast(weights[kept:-1], 0, self.num_samples)
            total = total + differences.view_as(latents)
        return torch.addcmul(total, weights[-1], latents)


def empty_output(transformer: Any, arguments: Mapping[str, Any], num_rows: int) -> Any:
    """What a call returns that computes nothing, in the form that its caller asked for.

    Args:
        transformer: whose output it would be.
        arguments: of the call.
        num_rows: `R` of the zeros `[R, channels, h, w]`.
    """
    latents: torch.Tensor = arguments["hidden_states"]
    channels = int(transformer.config.out_channels or transformer.config.in_channels)
    sample = latents.new_zeros((num_rows, channels, *latents.shape[2:]))
    if arguments.get("return_dict", True):
        return Transformer2DModelOutput(sample=sample)
    return (sample,)
