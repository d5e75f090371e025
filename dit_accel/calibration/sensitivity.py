"""How much of an error in one step's output is left in the final latents.

Measured, because it depends on solver and model alike: what an early error changes, later steps may
correct or build upon. Each row of a batch is one probe: the same sample, disturbed at another step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dit_accel.calibration.denoiser import Denoiser, Trajectories
from dit_accel.integration.calls import output_of
from dit_accel.phase_report import Report

PROBES = 8
"""Steps that are disturbed; between them sensitivities are interpolated."""

SHARE = 0.2
"""The disturbance is this share of the output's change since the last step: a few per cent of it,
as forecasts are off, and in such directions as old outputs differ from new ones."""


def probed_steps(num_steps: int) -> list[int]:
    """The steps that are disturbed; the first one is always computed."""
    spread = np.linspace(1, num_steps - 1, min(PROBES, num_steps - 1))
    return sorted({round(float(step)) for step in spread})


def measured_sensitivity(
    denoiser: Denoiser,
    trajectories: Trajectories,
    final: torch.Tensor,
    num_steps: int,
    report: Report,
) -> npt.NDArray[np.float64]:
    """Error of the final latents for a unit error of each step's guided output.

    Args:
        denoiser: of the pipeline.
        trajectories: the samples to disturb.
        final: their final latents, undisturbed, `[B, C, h, w]`.
        num_steps: of the run.
        report: told after each run.

    Returns:
        `[num_steps]`.
    """
    steps = probed_steps(num_steps)
    if not steps:
        return np.ones(num_steps)
    pairs = [(sample, step) for sample in range(len(trajectories.seeds)) for step in steps]
    ratios: dict[int, list[float]] = {step: [] for step in steps}
    for start in range(0, len(pairs), trajectories.batch_size):
        batch = pairs[start : start + trajectories.batch_size]
        samples = [sample for sample, _ in batch]
        probe = _Probe(denoiser, [step for _, step in batch])
        disturbed = probe.run(trajectories.some(samples))
        left = torch.linalg.vector_norm((disturbed - final[samples]).flatten(1).double(), dim=1)
        # The conditional output enters the guided one as many times.
        scale = max(1.0, trajectories.guidance_scale)
        for (_, step), remaining, size in zip(batch, left.tolist(), probe.sizes, strict=True):
            ratios[step].append(remaining / max(scale * size, 1e-12))
        report("sensitivity", start + len(batch), len(pairs))
    known = [float(np.sqrt(np.mean(np.square(ratios[step])))) for step in steps]
    logs = np.log(np.maximum(known, 1e-12))
    return np.exp(np.interp(np.arange(num_steps), steps, logs))


class _Probe:
    """Disturbs row `b` of a batch at `steps[b]`.

    Attributes:
        sizes: norm of each row's disturbance.
    """

    def __init__(self, denoiser: Denoiser, steps: Sequence[int]) -> None:
        self._denoiser, self._steps = denoiser, steps
        self.sizes = [0.0] * len(steps)
        self._step = 0
        self._last: torch.Tensor | None = None
        self._trajectories: Trajectories | None = None

    def run(self, trajectories: Trajectories) -> torch.Tensor:
        """Final latents of the disturbed runs."""
        self._trajectories = trajectories
        with self._disturbing():
            return self._denoiser.run(trajectories)

    @contextmanager
    def _disturbing(self) -> Iterator[None]:
        handle = self._denoiser.transformer.register_forward_hook(self._disturb)
        try:
            yield
        finally:
            handle.remove()

    def _disturb(self, module: Any, args: Any, result: Any) -> Any:
        output = output_of(result)
        assert self._trajectories is not None
        rows = self._denoiser.conditional_rows(len(output), self._trajectories)
        true = output[rows].clone()
        channels = int(module.config.in_channels)
        for row, step in enumerate(self._steps):
            if step == self._step and self._last is not None:
                change = SHARE * (self._last[row] - true[row])
                output[rows.start + row] += change
                self.sizes[row] = float(torch.linalg.vector_norm(change[:channels].double()))
        self._last, self._step = true, self._step + 1
        return result
