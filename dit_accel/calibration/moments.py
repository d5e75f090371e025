"""Inner products of a trajectory's features, from which every fit can be had.

A forecast of step `i` after the computed steps `j_1, j_2, …` regresses one combination of features
on others. All those features are few; the possible histories are many. So the inner products of all
pairs of features are kept, in float64, and the normal equations of any history read off them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dit_accel.forecast.predictors.calibrated import Fit, LeastSquares
from dit_accel.forecast.predictors.polynomial import newton_weights

RIDGE = 1e-6
"""Relative to each regressor: enough that the noise of few samples can't swing the weights."""

Feature = tuple[str, int]
"""What, and at which step."""


class StepFit(NamedTuple):
    """A fit of one forecast.

    Attributes:
        weights: of the remembered values, newest first.
        input: of the change of what enters.
        error: norm of the error over all samples, in the units of the output.
    """

    weights: tuple[float, ...]
    input: float
    error: float


class Products:
    """Inner products of named features, summed over samples.

    Args:
        names: of the features.
    """

    def __init__(self, names: Sequence[Feature]) -> None:
        self._place = {name: place for place, name in enumerate(names)}
        self._gram = np.zeros((len(names), len(names)))

    def add(self, features: torch.Tensor) -> None:
        """Take in `[features, …]`, in the order of the names."""
        flat = features.detach().flatten(1).double()
        self._gram += (flat @ flat.T).cpu().numpy()

    def fit(self, target: Sequence[Feature], regressors: Sequence[Sequence[Feature]]) -> Fit:
        """Fit `target` by `regressors`, each a difference of two features or a single one.

        The prior is a straight line through the remembered values, and nothing of what enters.
        """
        columns = np.stack([self._combination(c) for c in [*regressors, target]])
        equations = LeastSquares(len(regressors))
        equations.moments = columns @ self._gram @ columns.T
        steps = [regressor[0][1] for regressor in regressors[:-1]]
        prior = np.append(newton_weights(steps, target[0][1], 1), 0.0)
        return equations.fit(prior, RIDGE)

    def norm(self, target: Sequence[Feature]) -> float:
        """Norm of one such combination."""
        column = self._combination(target)
        return math.sqrt(max(0.0, float(column @ self._gram @ column)))

    def _combination(self, features: Sequence[Feature]) -> npt.NDArray[np.float64]:
        signs = np.zeros(len(self._place))
        for feature, sign in zip(features, (1.0, -1.0), strict=False):
            signs[self._place[feature]] += sign
        return signs


def step_fit(
    products: Products, step: int, after: Sequence[int], value: Sequence[str], entering: str
) -> StepFit:
    """Fit one forecast of a site.

    Args:
        products: of its features.
        step: the step to forecast.
        after: the computed steps, newest first.
        value: names of the one or two features whose difference the site remembers.
        entering: name of what enters it.
    """
    remembered = [[(name, at) for name in value] for at in after]
    change = [(entering, step), (entering, after[0])]
    target = [(name, step) for name in value]
    fit = products.fit(target, [*remembered, change])
    *weights, entered = fit.weights.tolist()
    error = fit.error * products.norm(target)
    return StepFit(tuple(weights), entered, error if np.isfinite(error) else 0.0)
