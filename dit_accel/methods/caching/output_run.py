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
from dit_accel.methods.caching.cache_run import Mode
from dit_accel.methods.caching.predictors.multistep import Multistep, MultistepRow
from dit_accel.methods.caching.ring import Ring
from dit_accel.methods.caching.timeline import RowTimeline


class OutputRun:
    """One run of a batch.

    Args:
        config: the cache.
        num_samples: samples of the batch.
        guided: whether each has two rows.
        conditional_first: whether the conditional rows come first.
        channels: of the latents; what else a transformer returns (a variance) is left as it is.
        num_layers: blocks that do not run where nothing is computed.

    Attributes:
        mode: whether `all` or `none` of the step is computed.
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
        self.config, self.num_samples, self.guided = config, num_samples, guided
        self._predictor, self._channels = config.predictor, channels
        self.num_layers = num_layers
        first = num_samples if guided and not conditional_first else 0
        self._conditional = slice(first, first + num_samples)
        self._null = slice(num_samples - first, 2 * num_samples - first)
        kept, pairs = self._predictor.snapshots, max(1, self._predictor.differences)
        self._seen = Ring(kept, num_samples)
        self._differences = Ring(pairs, num_samples)
        self._seen_at, self._differences_at = RowTimeline(kept), RowTimeline(pairs)
        self._table: torch.Tensor | None = None
        self._row: MultistepRow | None = None
        self._latents: torch.Tensor | None = None
        self.last_computed: int | None = None
        self.mode: Mode = "all"

    @property
    def num_rows(self) -> int:
        """Batch rows, unconditional ones included."""
        return self.num_samples * (1 + self.guided)

    @property
    def rows(self) -> range:
        """The rows it returns: all of them."""
        return range(self.num_rows)

    @property
    def need(self) -> list[bool]:
        """Whether each sample is computed."""
        return [self.mode == "all"] * self.num_samples

    @property
    def guarded(self) -> list[bool]:
        """None: the step alone decides."""
        return [False] * self.num_samples

    @property
    def nbytes(self) -> int:
        """Bytes remembered now."""
        return self._seen.nbytes + self._differences.nbytes

    def begin_step(self, step: int, compute: bool, latents: torch.Tensor) -> None:
        """The policy has decided on `step`, into which these latents of all rows enter.

        Raises:
            RunError: the plan has no scalars for this step.
        """
        row = self._predictor.row(step)
        self.mode, self._row = "all" if compute else "none", row
        # At the start of a run a prediction of the data is a small difference of large numbers.
        dtype = torch.promote_types(latents.dtype, torch.float32)
        self._latents = latents[self._conditional].detach().to(dtype)
        if compute:
            self.last_computed = step
            self._seen_at.record(step, None)
        if self._computes_both(row):
            self._differences_at.record(step, None)
        self._predictor.check_history(row, self._seen_at.steps, self._differences_at.steps)
        table = torch.from_numpy(self._weights(row))
        if self._table is None:
            self._table = torch.zeros(table.shape, dtype=dtype, device=latents.device)
        self._table.copy_(table, non_blocking=True)

    def _computes_both(self, row: MultistepRow) -> bool:
        return self.mode == "all" and row.differences[:1] == (row.step,)

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

    def skipped_output(self, arguments: Mapping[str, Any], channels: int) -> Any:
        """What a step returns that does not call the transformer.

        Args:
            arguments: of the transformer.
            channels: that it returns.
        """
        latents: torch.Tensor = arguments["hidden_states"]
        output = latents.new_zeros((self.num_rows, channels, *latents.shape[2:]))
        return transformer_output(output, arguments)

    def complete_output(self, output: Any) -> Any:
        """Remember what was computed, and put the fitted prediction in its place."""
        if isinstance(output, tuple):
            return (self._complete(output[0]), *output[1:])
        return type(output)(sample=self._complete(output.sample))

    def _complete(self, output: torch.Tensor) -> torch.Tensor:
        """`[R, channels, h, w]` in and out."""
        row, table, latents = self._row, self._table, self._latents
        assert row is not None and table is not None and latents is not None
        p, q, weights = table[0], table[1], table[2:].view(2, -1)
        if self.mode == "all":
            known = output[:, : self._channels].to(latents.dtype)
            self._remember(known, latents, p, q, row)
        low, high = (self._combined(band, latents) for band in weights)
        prediction = mixed_bands(low, high, self._predictor.cutoff)
        fitted = ((prediction - p * latents) / q).to(output.dtype)
        both = fitted.repeat(1 + self.guided, 1, 1, 1)
        return torch.cat([both, output[:, self._channels :]], dim=1)

    def _remember(
        self,
        output: torch.Tensor,
        latents: torch.Tensor,
        p: torch.Tensor,
        q: torch.Tensor,
        row: MultistepRow,
    ) -> None:
        conditional = output[self._conditional]
        self._push(self._seen, self._seen_at, p * latents + q * conditional)
        if self._computes_both(row):
            null = output[self._null] if self.guided else conditional
            self._push(self._differences, self._differences_at, q * (conditional - null))

    def _push(self, ring: Ring, at: RowTimeline, values: torch.Tensor) -> None:
        rows = torch.arange(self.num_samples, device=values.device)
        ring.push(values.flatten(2), rows + at.slot * self.num_samples)

    def _combined(self, weights: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        kept = self._seen.capacity
        total = self._seen.forecast(weights[:kept], 0, self.num_samples).view_as(latents)
        if self._differences.buffer is not None:
            differences = self._differences.forecast(weights[kept:-1], 0, self.num_samples)
            total = total + differences.view_as(latents)
        return torch.addcmul(total, weights[-1], latents)


def output_channels(transformer: Any) -> int:
    """Channels that a transformer returns."""
    return int(transformer.config.out_channels or transformer.config.in_channels)


def transformer_output(sample: torch.Tensor, arguments: Mapping[str, Any]) -> Any:
    """A transformer's output as its caller asked for it."""
    if arguments.get("return_dict", True):
        return Transformer2DModelOutput(sample=sample)
    return (sample,)
