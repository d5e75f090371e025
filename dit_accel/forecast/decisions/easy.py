"""EasyCache (H-EmbodVis/EasyCache): the output follows the input at a rate measured in passing.

At a computed step, ``k = mean|y_i - y_{i-1}| / mean|x_i - x_{i-1}|`` from the model's whole input
``x`` and output ``y``. Until the next one the output is taken to change by

    k mean|x_i - x_{i-1}| / mean|y|        (relative to the last output)

in each step, which is added up (`dit_accel.forecast.decisions.accumulated_change`). No calibration;
each sample has a rate of its own.
"""

import torch
from torch import Tensor


def mean_magnitude(tensor: Tensor) -> Tensor:
    """Mean absolute value of each row, ``[R, ...] -> [R]`` float32."""
    return tensor.float().abs().flatten(1).mean(dim=1)


def change_rate(output_change: Tensor, input_change: Tensor) -> Tensor:
    """The rate ``k`` of each sample.

    Args:
        output_change: ``[B]``, ``mean|y_i - y_{i-1}|``.
        input_change: ``[B]``, ``mean|x_i - x_{i-1}|``.

    Returns:
        ``[B]``; infinite where the output moved and the input did not, 0 where neither did.
    """
    return torch.where(output_change == 0, 0.0, output_change / input_change)


def expected_change(rate: Tensor, input_change: Tensor, output_magnitude: Tensor) -> Tensor:
    """Relative change of the output to expect of an input change.

    Args:
        rate: ``[B]`` from `change_rate`.
        input_change: ``[B]``, ``mean|x_i - x_{i-1}|`` of this step.
        output_magnitude: ``[B]``, ``mean|y|`` of the last output.

    Returns:
        ``[B]``; infinite or NaN, hence computed, where it can't be told.
    """
    return rate * input_change / output_magnitude
