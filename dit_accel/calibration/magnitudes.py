"""Measure what policy `magnitude` needs: how the norm of the residual grows from step to step.

MagCache (arXiv 2506.09045), `rho_i = mean |R_i| / |R_{i-1}|` with the residual `R` over all blocks
of one token, taken along dense trajectories. Means are over tokens, guidance rows and samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from dit_accel.calibration.calibrate import check_samples
from dit_accel.calibration.conditions import conditions_for
from dit_accel.calibration.denoiser import Denoiser, Trajectories
from dit_accel.errors import UnsupportedError
from dit_accel.forecast.decisions.magnitude import magnitude_ratio


def measure_ratios(
    pipe: Any,
    *,
    num_inference_steps: int,
    guidance_scale: float,
    seeds: Sequence[int] = tuple(range(8)),
    conditions: Mapping[str, Any] | None = None,
) -> tuple[float, ...]:
    """Run a pipeline once with its scheduler; the `ratios` of policy `magnitude`, one a step.

    The pipeline is run through its own `__call__` and left as it is, whatever plan is in place.

    Args:
        pipe: a diffusers pipeline with a transformer, as `dit_accel.accelerate` takes it.
        num_inference_steps: of `pipe.scheduler`.
        guidance_scale: that the plan will be used with.
        seeds: one a sample; all of them are run at once.
        conditions: arguments of the pipeline's call, as for `dit_accel.calibrate`.

    Raises:
        DitAccelError: seeds or conditions are wrong.
        UnsupportedError: the pipeline calls the transformer more than once a step.
    """
    check_samples(seeds, len(seeds))
    denoiser = Denoiser(pipe)
    drawn = conditions_for(pipe, seeds, conditions)
    num_steps = len(denoiser.timesteps(num_inference_steps))
    with _ratios_of(denoiser) as ratios:
        denoiser.run(
            Trajectories(
                num_inference_steps, float(guidance_scale), tuple(seeds), drawn, len(seeds)
            )
        )
    if len(ratios) != num_steps:
        raise UnsupportedError(
            f"pipe: {len(ratios)} transformer calls in a run of {num_steps} steps, expected one a"
            " step; use a pipeline that has both guidance rows in one call"
        )
    return tuple(ratios)


@contextmanager
def _ratios_of(denoiser: Denoiser) -> Iterator[list[float]]:
    """One ratio for each transformer call, 1 for the first."""
    blocks = denoiser.backbone.blocks(denoiser.transformer)
    ratios: list[float] = []
    kept: dict[str, torch.Tensor] = {}

    def enters(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept["start"] = args[0] if args else kwargs["hidden_states"]

    def leaves(module: Any, args: Any, output: torch.Tensor) -> None:
        residual = output - kept.pop("start")
        previous = kept.get("residual", residual)
        ratios.append(float(magnitude_ratio(residual, previous).mean()))
        kept["residual"] = residual

    handles = [
        blocks[0].register_forward_pre_hook(enters, with_kwargs=True),
        blocks[-1].register_forward_hook(leaves),
    ]
    try:
        yield ratios
    finally:
        for handle in handles:
            handle.remove()
