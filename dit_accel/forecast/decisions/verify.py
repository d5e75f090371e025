"""SpeCa (arXiv 2509.11628): forecast, check the forecast on the last block, accept or compute.

The last block is run on the forecast of its input, and what it returns is compared with the
forecast of its output. The forecast is accepted while the relative error is at most

    tau = max(floor, base * decay^progress),    progress from 0 to 1 over the run,

after at least ``minimum`` and up to ``maximum`` forecasts in a row. The release reacts one step
late (the step that failed is used, the next one computed), measures ``mean(|x - x'| / |x'|)``,
which explodes on elements near zero, and takes one decision for the batch. Here a failing sample is
to be computed in the same step, the error is `dit_accel.forecast.drift.relative_l1_change`, and
every sample decides alone. What is checked is the error of one block on a forecast input, not the
drift of the whole: a low error is necessary, not sufficient.
"""

from torch import Tensor


def verification_threshold(
    progress: float, base: float = 0.3, decay: float = 0.05, floor: float = 0.01
) -> float:
    """The largest relative error that is accepted.

    Args:
        progress: share of the run that is done, 0 to 1.
        base: threshold at the start.
        decay: what is left of it at the end, as a factor.
        floor: it never falls below this.
    """
    return max(floor, base * float(decay**progress))


def accepted(
    error: Tensor, in_a_row: Tensor, threshold: float, minimum: int = 3, maximum: int = 8
) -> Tensor:
    """Which samples keep their forecast.

    Args:
        error: ``[B]``, relative error of the last block; NaN is never accepted.
        in_a_row: ``[B]``, forecasts since each sample was last computed, this one left out.
        threshold: from `verification_threshold`.
        minimum: so many forecasts are accepted whatever their error, if it is a finite one.
        maximum: no more than so many in a row are accepted.

    Returns:
        Bool ``[B]``.
    """
    good = (error <= threshold) | ((in_a_row < minimum) & error.isfinite())
    return good & (in_a_row < maximum)
