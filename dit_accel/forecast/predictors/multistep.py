"""A guided output made of several steps' outputs: a linear multistep method fitted to one model.

Outputs are compared as predictions of the data, linear in what the transformer is given and gives,

    D = p x + q y        with x = alpha D + sigma noise,

because these change least from step to step. With ``C`` the conditional predictions and
``d = C - C_null`` the guidance differences of the last steps that computed them, step ``i`` takes

    D_i = sum_k w_k C_{i-k} + sum_k u_k d_{i-k} + v x_i

in place of ``C_i + (g - 1) d_i``; with its own scalars for low and for high spatial frequencies,
which converge at different times of a run. ``w = (1, 0, ...)``, ``u = (g - 1, 0, ...)`` is plain
guidance, ``d`` reused where it is not computed; Adams-Bashforth, DPM-Solver++ 2M and a straight
line are other points of the same space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from dit_accel.forecast.predictors.frequency import low_pass
from dit_accel.tokens.grid import Grid

# Schedules with no signal at all in the first step would divide by zero.
_LEAST_SIGNAL = 1e-4


def data_prediction(prediction_type: str, alpha_bar: float) -> tuple[float, float]:
    """The factors ``p, q`` of ``D = p x + q y``.

    Args:
        prediction_type: what the output ``y`` is: ``epsilon``, ``v_prediction`` or ``sample``.
        alpha_bar: ``alpha^2``, the share of signal in ``x``.

    Raises:
        ValueError: another prediction type.
    """
    alpha, sigma = math.sqrt(max(alpha_bar, _LEAST_SIGNAL**2)), math.sqrt(1.0 - alpha_bar)
    factors = {
        "epsilon": (1.0 / alpha, -max(sigma, _LEAST_SIGNAL) / alpha),
        "v_prediction": (alpha, -max(sigma, _LEAST_SIGNAL)),
        "sample": (0.0, 1.0),
    }
    if prediction_type not in factors:
        raise ValueError(f"expected prediction type {', '.join(factors)}, got {prediction_type!r}")
    return factors[prediction_type]


def low_frequencies(latents: Tensor, cutoff: float) -> Tensor:
    """The lowest ``cutoff`` share of the frequencies of each axis: ``[B, C, h, w]``, float32 up."""
    grid = Grid(*latents.shape[-2:])
    tokens = latents.flatten(2).mT
    return low_pass(tokens, grid, cutoff).mT.reshape(latents.shape)


def mixed_bands(low: Tensor, high: Tensor, cutoff: float) -> Tensor:
    """The low frequencies of one map and the high ones of another, ``[B, C, h, w]`` each."""
    return high + low_frequencies(low - high, cutoff)


def weighted(terms: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """``sum_k w_k terms_k``."""
    first, *others = (weight * term for weight, term in zip(weights, terms, strict=True))
    return sum(others, first)
