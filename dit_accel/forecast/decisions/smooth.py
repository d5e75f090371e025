"""SmoothCache (arXiv 2411.10510): the longest reuse that calibration says is good enough.

Errors of reuse are measured on a few samples, ``|out_i - out_{i-j}|_1 / |out_i|_1`` for each step
``i`` and lag ``j``, averaged over samples and over the layers of one kind (attention, feed-forward:
the schedules may differ). The schedule is greedy: compute a step, then reuse it for the largest
lag whose error is within the threshold, and so on.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dit_accel.forecast.decisions.static_masks import Mask


def smooth_mask(errors: Sequence[Sequence[float]] | npt.NDArray[np.float64], limit: float) -> Mask:
    """Choose the computed steps.

    Args:
        errors: ``[T, L]``, entry ``[i, j - 1]`` is the averaged error of step ``i`` when that of
            ``j`` steps before is reused; entries with ``j > i`` are not read. ``L`` is how far
            the schedule may look ahead (the authors use 3).
        limit: largest error that is accepted; the authors use 0.08 to 0.35 on DiT.

    Returns:
        ``T`` bools; the first and the last step are computed.

    Raises:
        ValueError: ``errors`` is not a table.
    """
    table = np.asarray(errors, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"expected errors of shape [steps, lags], got {table.shape}")
    num_steps, max_lag = table.shape
    mask, step = [False] * num_steps, 0
    mask[-1] = True
    while step < num_steps:
        mask[step] = True
        lags = range(1, min(max_lag, num_steps - 1 - step) + 1)
        # NaN compares false, so a step that was never measured is computed.
        step += max((lag for lag in lags if table[step + lag, lag - 1] <= limit), default=0) + 1
    return tuple(mask)
