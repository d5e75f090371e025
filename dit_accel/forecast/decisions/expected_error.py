"""A closed-loop alternative to WorldCache's curvature: expected errors of the forecasts themselves.

From the norms of Newton's coefficients of each token, ``n_1 = |f[t_0, t_1]|`` and
``n_2 = |f[t_0, t_1, t_2]|`` on true gaps, the errors at a horizon ``h`` after gap ``g`` are about

    reuse: n_1 h + n_2 h (h + g)        line: n_2 h (h + g)

which is exact for the line on a parabola. The better of the two, relative to ``|y_0|``, at a
quantile over the tokens of a sample, and times a gain, bounds how far the sample may be skipped.
The gain follows what was measured when the sample was next computed, so that a model whose features
are smoother or rougher than two differences tell is skipped more or less.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dit_accel.forecast.rows import tokens_of_samples


class TokenSmoothness(NamedTuple):
    """Norms of each token, ``[R, N]`` each: value, slope, half the second derivative."""

    value: Tensor
    slope: Tensor
    bend: Tensor


def token_smoothness(history: Sequence[Tensor] | Tensor, times: Tensor) -> TokenSmoothness:
    """Measure ``|y_0|``, ``n_1`` and ``n_2``.

    Args:
        history: three snapshots ``[R, N, C]``, newest first.
        times: their positions, ``[3]`` or ``[3, R]``.

    Raises:
        ValueError: there are not exactly three snapshots.
    """
    if len(history) != 3:
        raise ValueError(f"a second difference needs 3 snapshots, got {len(history)}")
    wide = torch.promote_types(history[0].dtype, torch.float32)
    newest, middle, oldest = (snapshot.to(wide) for snapshot in history)
    at = times.to(wide)[..., None, None]
    slope, previous = (newest - middle) / (at[0] - at[1]), (middle - oldest) / (at[1] - at[2])
    bend = (slope - previous) / (at[0] - at[2])
    return TokenSmoothness(*(torch.linalg.vector_norm(x, dim=-1) for x in (newest, slope, bend)))


def expected_error(
    smoothness: TokenSmoothness,
    horizon: float,
    gap: float,
    rows_per_sample: int,
    noise: float = 0.0,
    quantile: float = 0.95,
) -> Tensor:
    """Relative error to expect of the better of reuse and line, for each sample.

    Args:
        smoothness: ``[R, N]`` each; sample ``b`` of ``B`` owns the rows ``b, b + B, ...``.
        horizon: ``h > 0``, steps since the computed one.
        gap: ``g > 0``, the newest gap.
        rows_per_sample: rows of one sample.
        noise: relative noise of a snapshot (2^-8 in bfloat16), amplified by ``sum |w|``.
        quantile: which token of a sample decides.

    Returns:
        ``[B]``.
    """
    value, slope, bend = smoothness
    curved = bend * horizon * (horizon + gap)
    line_gain = 1.0 + 2.0 * horizon / gap
    reuse = slope * horizon + curved + noise * value
    error = torch.minimum(reuse, curved + line_gain * noise * value)
    relative = error / value.clamp(min=torch.finfo(value.dtype).tiny)
    return torch.quantile(tokens_of_samples(relative, rows_per_sample), quantile, dim=1)


def updated_gain(gain: Tensor, measured: Tensor, expected: Tensor) -> Tensor:
    """Scale the expectations by what happened: ``clip(gain * sqrt(measured / expected), ¼, 4)``.

    Args:
        gain: ``[B]``, so far; 1 at the start of a run.
        measured: ``[B]``, ``|y - y'| / |y|`` at a computed step, had it been forecast.
        expected: ``[B]``, `expected_error` for the same step, without the gain.

    Returns:
        ``[B]``.
    """
    ratio = measured / expected.clamp(min=torch.finfo(expected.dtype).tiny)
    return (gain * ratio.sqrt()).clamp(0.25, 4.0)
