"""The best linear combination of what is remembered, fitted to a model's own trajectories.

For one step and site, with regressors ``x_1 ... x_K`` (remembered features and the current input)
and the true feature ``y``, minimise over the weights ``w``

    |y - sum_k w_k x_k|^2 + ridge * sum_k (w_k - p_k)^2 |x_k|^2,

where ``p`` is a *prior*: the weights of reuse, of a straight line, of any uncalibrated predictor.
Shrinking towards it rather than towards zero makes the fit at worst as good, on the data it was
fitted to, as the prior, whatever the ridge; and where two snapshots are nearly equal, so that their
weights can't be told apart, the prior tells. A relative ridge makes the fit independent of the
scales of the regressors.

Only the ``(K + 1)^2`` inner products of regressors and target are kept, in float64, so that any
number of trajectories streams through. Residuals are read off them as differences of squares, hence
relative errors below about 1e-8 are rounding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# Elements of one slice that is widened to float64 at a time.
SLICE = 1 << 20


class Fit(NamedTuple):
    """Outcome of a fit.

    Attributes:
        weights: float64 ``[K]``, in the order of the regressors.
        error: ``|y - sum_k w_k x_k| / |y|`` over all the data.
    """

    weights: npt.NDArray[np.float64]
    error: float


class LeastSquares:
    """Accumulated normal equations of one step and site.

    Args:
        num_regressors: ``K``.

    Attributes:
        moments: float64 ``[K + 1, K + 1]``, inner products of the regressors and, last, the target.
    """

    def __init__(self, num_regressors: int) -> None:
        if num_regressors < 1:
            raise ValueError(f"a fit needs at least one regressor, got {num_regressors}")
        self.moments = np.zeros((num_regressors + 1, num_regressors + 1))

    def update(self, target: Tensor, regressors: Sequence[Tensor]) -> None:
        """Take in what one step of one or several trajectories gave.

        Args:
            target: the true feature, of any shape.
            regressors: ``K`` tensors of that shape.

        Raises:
            ValueError: the number or a shape of the regressors is wrong, or a value is not finite.
        """
        tensors = [*regressors, target]
        if len(tensors) != len(self.moments) or any(x.shape != target.shape for x in tensors):
            raise ValueError(
                f"expected {len(self.moments) - 1} regressors of shape {tuple(target.shape)}, "
                f"got {[tuple(x.shape) for x in regressors]}"
            )
        slices = zip(*(torch.split(x.detach().reshape(-1), SLICE) for x in tensors), strict=True)
        added = torch.zeros(self.moments.shape, dtype=torch.float64, device=target.device)
        for parts in slices:
            columns = torch.stack([part.double() for part in parts])
            added += columns @ columns.T
        products = added.cpu().numpy()
        if not np.isfinite(products).all():
            raise ValueError("a trajectory holds NaN or Inf; calibrate on finite features only")
        self.moments = self.moments + products

    def relative_error(self, weights: Sequence[float] | npt.NDArray[np.float64]) -> float:
        """Relative residual error ``|y - sum_k w_k x_k| / |y|`` of any weights ``[K]``."""
        signed = np.append(-np.asarray(weights, dtype=np.float64), 1.0)
        residual, scale = max(0.0, signed @ self.moments @ signed), self.moments[-1, -1]
        if residual == 0.0:
            return 0.0
        return float(np.sqrt(residual / scale)) if scale > 0 else float("inf")

    def fit(self, prior: Sequence[float] | npt.NDArray[np.float64], ridge: float = 1e-6) -> Fit:
        """Solve for the weights.

        Args:
            prior: ``[K]``, the weights that the fit is drawn towards.
            ridge: how strongly, relative to the size of each regressor; at least 0.

        Raises:
            ValueError: the prior is not of length ``K``, or the ridge is negative.
        """
        start = np.asarray(prior, dtype=np.float64)
        if start.shape != (len(self.moments) - 1,) or not ridge >= 0.0:
            raise ValueError(
                f"expected a prior of {len(self.moments) - 1} weights and a ridge of at least 0, "
                f"got {start.tolist()} and {ridge}"
            )
        gram, products = self.moments[:-1, :-1], self.moments[:-1, -1]
        scale = np.sqrt(np.diag(gram))
        inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
        correlation = inverse[:, None] * gram * inverse + ridge * np.eye(start.size)
        # Least squares for the step away from the prior: where the data say nothing, there is none.
        step, *_ = np.linalg.lstsq(correlation, inverse * (products - gram @ start), rcond=None)
        weights = start + inverse * step
        return Fit(weights, self.relative_error(weights))
