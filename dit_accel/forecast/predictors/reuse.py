"""Reuse: the newest snapshot stands for the present (FORA, arXiv 2407.01425, and most others).

Exact for what does not change. At the output of the model under DDIM or Euler it is the dense
sampler on fewer steps, which is the bar that any other predictor has to pass.
"""

from collections.abc import Sequence

import numpy as np

from dit_accel.forecast.predictors.nodes import Weights, checked_nodes


def reuse_weights(times: Sequence[float], target: float) -> Weights:
    """Weigh the newest snapshot with one, whatever the ``target``.

    Args:
        times: position of each snapshot, newest first; ``K`` of them, pairwise distinct.
        target: position to predict at; taken so that all predictors are called alike.

    Returns:
        ``[K]`` float64.

    Raises:
        ValueError: no times, or equal or non-finite ones.
    """
    weights: Weights = np.eye(checked_nodes(times).size)[0]
    return weights
