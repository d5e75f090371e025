"""The positions of snapshots, checked once for every predictor.

A *node* is the position ``t_j`` of the ``j``-th newest snapshot, in any unit; the *gap* ``g_j`` is
``t_j - t_{j+1}``, negative where the unit counts down (timesteps).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float64]


def checked_nodes(times: Sequence[float]) -> Weights:
    """Return ``times`` as float64 ``[K]``.

    Raises:
        ValueError: no times, or equal or non-finite ones.
    """
    nodes = np.asarray(times, dtype=np.float64)
    if nodes.size == 0:
        raise ValueError("a forecast needs at least one snapshot")
    if np.unique(nodes).size != nodes.size or not np.isfinite(nodes).all():
        raise ValueError(
            f"the snapshots of a forecast must be at distinct, finite times, got {list(times)}"
        )
    return nodes


def checked_timeline(times: Sequence[float]) -> Weights:
    """Return ``times`` as float64 ``[K]``, for predictors that speak of consecutive snapshots.

    Raises:
        ValueError: as for `checked_nodes`, or the times are not in the order of the run.
    """
    nodes = checked_nodes(times)
    gaps = nodes[:-1] - nodes[1:]
    if not ((gaps > 0).all() or (gaps < 0).all()):
        raise ValueError(
            f"the snapshots of a forecast must be listed newest first, got times {list(times)}"
        )
    return nodes


def usable_order(order: int, maximum: int, num_snapshots: int) -> int:
    """Return the order that so many snapshots allow: at most one less than there are.

    Raises:
        ValueError: ``order`` is not from 0 to ``maximum``.
    """
    if not 0 <= order <= maximum:
        raise ValueError(f"the order of a forecast must be from 0 to {maximum}, got {order}")
    return min(order, num_snapshots - 1)


def backward_slopes(nodes: Weights) -> Weights:
    """Return ``[K - 1, K]``: row ``j`` maps snapshots to ``(y_j - y_{j+1}) / g_j``."""
    unit = np.eye(nodes.size)
    slopes: Weights = (unit[:-1] - unit[1:]) / (nodes[:-1] - nodes[1:])[:, None]
    return slopes
