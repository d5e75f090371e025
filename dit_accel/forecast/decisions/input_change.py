"""TeaCache (arXiv 2411.19108): from the change of the network's input to that of its output.

The signal is the relative L1 change of the first block's modulated input from one step to the next,
measured in every step (`dit_accel.forecast.drift.relative_l1_change`). It is rescaled to a change
of the output and added up (`dit_accel.forecast.decisions.accumulated_change`).

TeaCache rescales by a polynomial of degree 4, fitted for each model. Such a fit need not be
monotone, nor vanish at zero: that of FLUX gives 0.264 for no change and 0.181 for one of 5 %. The
fit offered here, ``a d^b`` with ``b >= 0``, is monotone, has two parameters and is a straight line
in logarithms.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def polynomial_change(change: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Rescale by a polynomial, as published.

    Args:
        change: ``[B]``, relative change of the input.
        coefficients: highest power first.

    Returns:
        ``[B]``, relative change of the output.
    """
    result = torch.zeros_like(change)
    for coefficient in coefficients:
        result = result * change + coefficient
    return result


class PowerLaw(NamedTuple):
    """``a d^b``, the output change expected of an input change ``d``.

    Attributes:
        factor: ``a > 0``.
        exponent: ``b >= 0``.
    """

    factor: float
    exponent: float

    def __call__(self, change: Tensor) -> Tensor:
        """Rescale ``[B]`` changes of the input to changes of the output."""
        return self.factor * change**self.exponent


def fit_power_law(
    input_changes: Sequence[float] | npt.NDArray[np.float64],
    output_changes: Sequence[float] | npt.NDArray[np.float64],
) -> PowerLaw:
    """Fit ``a d^b`` by least squares in logarithms, so that relative errors count alike.

    Args:
        input_changes: positive, ``n >= 1`` of them.
        output_changes: what each of them led to, positive.

    Raises:
        ValueError: the numbers differ, there are none, or one is not positive and finite.
    """
    given = np.asarray([input_changes, output_changes], dtype=np.float64)
    if given.ndim != 2 or given.shape[1] == 0 or not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(
            "a power law needs pairs of positive, finite changes; leave out the steps in which "
            "nothing changed"
        )
    x, y = np.log(given)
    spread = ((x - x.mean()) ** 2).sum()
    # Through a single point, or with all inputs alike, any exponent fits: proportional then.
    exponent = max(0.0, ((x - x.mean()) * y).sum() / spread) if spread > 0 else 1.0
    return PowerLaw(float(np.exp(y.mean() - exponent * x.mean())), float(exponent))
