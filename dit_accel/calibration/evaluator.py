"""The transformer of a pipeline's loop, run on those rows alone that somebody asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch

from dit_accel.calibration.denoiser import Denoiser, Trajectories
from dit_accel.calibration.head import rows_of
from dit_accel.integration.calls import argument_names, named_arguments, output_of
from dit_accel.methods.caching.output_run import empty_output

Outputs: TypeAlias = tuple[torch.Tensor, torch.Tensor | None]
"""Conditional outputs `[B, C, h, w]` of a step, and the unconditional ones if it has them."""

Compute = Callable[[bool], Outputs]
"""Runs the rows of the present call: the conditional ones, and the others too if that is true."""


class Evaluator:
    """Runs all trajectories together, `batch_size` samples at a time in the transformer.

    Args:
        denoiser: of the pipeline.
        trajectories: all of them.

    Attributes:
        rows_run: so far.
    """

    def __init__(self, denoiser: Denoiser, trajectories: Trajectories) -> None:
        self._denoiser, self._trajectories = denoiser, trajectories
        self._names = argument_names(denoiser.transformer)
        self._channels = int(denoiser.transformer.config.in_channels)
        self.rows_run = 0

    @contextmanager
    def in_place(self, called: Callable[[Compute], None]) -> Iterator[None]:
        """Let every call of the transformer be one of `called`, and give the pipeline zeros."""
        transformer = self._denoiser.transformer
        own = vars(transformer).get("forward")  # of somebody's hooks
        forward = transformer.forward

        def evaluate(*args: Any, **kwargs: Any) -> Any:
            arguments = named_arguments(self._names, args, kwargs)
            count = len(arguments["hidden_states"])
            called(lambda guided: self._outputs(forward, arguments, count, guided))
            return empty_output(transformer, arguments, count)

        transformer.forward = evaluate
        try:
            yield
        finally:
            if own is None:
                del transformer.forward
            else:
                transformer.forward = own

    def _outputs(
        self, forward: Callable[..., Any], arguments: Mapping[str, Any], count: int, guided: bool
    ) -> Outputs:
        conditional = self._denoiser.conditional_rows(count, self._trajectories).start
        samples, size = len(self._trajectories.seeds), self._trajectories.batch_size

        def outputs(start: int) -> torch.Tensor:
            rows = torch.arange(start, start + samples)
            batches = (rows[first : first + size] for first in range(0, samples, size))
            return torch.cat([self._output(forward, arguments, some, count) for some in batches])

        return outputs(conditional), outputs(samples - conditional) if guided else None

    def _output(
        self,
        forward: Callable[..., Any],
        arguments: Mapping[str, Any],
        rows: torch.Tensor,
        count: int,
    ) -> torch.Tensor:
        self.rows_run += len(rows)
        rows = rows.to(arguments["hidden_states"].device)
        return output_of(forward(**rows_of(arguments, rows, count)))[:, : self._channels]
