"""A linear map fitted in closed form, drawn towards one that is known to be reasonable.

    minimise over W   |Y - F W|^2 + ridge * sum_f |F_f|^2 |W_f - P_f|^2

for features ``F`` ``[T, K]``, targets ``Y`` ``[T, C]`` and a prior ``P`` ``[K, C]``: the matrix
form of `dit_accel.forecast.predictors.calibrated.LeastSquares`. The ridge is relative to each
feature's size, so that the scale of a channel does not matter. On the data it was fitted to it is
never worse than the prior. Only ``F'F`` ``[K, K]``, ``F'Y`` ``[K, C]`` and ``|Y|^2`` are kept, in
float64.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Ridge:
    """Accumulated normal equations.

    Args:
        num_features: ``K``.
        num_targets: ``C``.
    """

    def __init__(self, num_features: int, num_targets: int) -> None:
        self._gram = torch.zeros(num_features, num_features, dtype=torch.float64)
        self._cross = torch.zeros(num_features, num_targets, dtype=torch.float64)
        self._energy = 0.0

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Take in ``[T, K]`` and ``[T, C]``, on any device.

        Raises:
            ValueError: a value is not finite.
        """
        wide, known = features.detach().double(), targets.detach().double()
        gram, cross = (wide.T @ wide).cpu(), (wide.T @ known).cpu()
        energy = float(known.square().sum())
        if not (torch.isfinite(gram).all() and torch.isfinite(cross).all()):
            raise ValueError("a trajectory holds NaN or Inf; calibrate on finite tokens only")
        self._gram += gram
        self._cross += cross
        self._energy += energy

    def error(self, weights: Tensor) -> float:
        """``|Y - F W| / |Y|`` of any weights ``[K, C]``."""
        wide = weights.double()
        residual = self._energy + float((wide * (self._gram @ wide - 2 * self._cross)).sum())
        if self._energy == 0.0:
            return 0.0
        return float((max(0.0, residual) / self._energy) ** 0.5)

    def fit(self, prior: Tensor, ridge: float) -> Tensor:
        """The weights, float64 ``[K, C]``.

        Raises:
            ValueError: the ridge is not positive.
        """
        if not ridge > 0:
            raise ValueError(f"expected a ridge above 0, got {ridge}; 0.01 is a good start")
        start, scale = prior.double(), self._gram.diagonal().sqrt()
        # A channel that is always zero says nothing: its weights stay those of the prior.
        inverse = torch.where(scale > 0, 1.0 / scale, torch.zeros_like(scale))[:, None]
        correlation = inverse * self._gram * inverse.T
        correlation.diagonal().add_(ridge)
        step = torch.linalg.solve(correlation, inverse * (self._cross - self._gram @ start))
        fitted: Tensor = start + inverse * step
        return fitted
