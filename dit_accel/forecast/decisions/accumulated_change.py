"""Add up an estimated change from step to step, and compute where the sum reaches a threshold.

The rule that TeaCache, EasyCache and WorldCache share; they differ in the estimate. Originals keep
one sum for the batch and read it to the host in every step; here every sample has its own, and
nothing is read.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Accumulation(NamedTuple):
    """Outcome of one step.

    Attributes:
        need: bool ``[B]``, samples to compute now.
        total: ``[B]``, the sums to go on with: zero again where a sample is computed.
    """

    need: Tensor
    total: Tensor


def accumulate(total: Tensor, change: Tensor, threshold: Tensor | float) -> Accumulation:
    """Add this step's change and decide.

    Args:
        total: ``[B]``, the sums since each sample was last computed.
        change: ``[B]``, estimated change in this step. NaN computes.
        threshold: scalar or ``[B]``; 0 computes always.
    """
    total = total + change
    need = ~(total < threshold)
    return Accumulation(need, torch.where(need, 0.0, total))
