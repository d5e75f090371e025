"""How far a feature has moved since it was last computed, one figure a batch row.

The relative L1 change of the first blocks' residual decides whether the rest is computed in
first-block caching (ParaAttention's FBCache, diffusers' FirstBlockCache). Those take one mean over
the whole batch, which lets batch-mates decide for each other; here every row has its own, and the
rows of one sample under classifier-free guidance decide together.
"""

import torch
from torch import Tensor

from dit_accel.forecast.rows import split_rows


def relative_l1_change(current: Tensor, reference: Tensor) -> Tensor:
    """Compute ``mean |current - reference| / mean |reference|`` of each row.

    Args:
        current: ``[R, N, C]``.
        reference: ``[R, N, C]``, the value the change is measured from.

    Returns:
        ``[R]`` float32, never NaN. Infinite, hence over every threshold, where the reference is
        zero and the current value is not, and where either is not finite; 0 where they are equal.

    Raises:
        ValueError: the shapes differ.
    """
    if current.shape != reference.shape:
        raise ValueError(
            f"the change needs two tensors of one shape, got {tuple(current.shape)} "
            f"and {tuple(reference.shape)}"
        )
    wide = torch.promote_types(current.dtype, torch.float32)
    base = reference.to(wide)
    moved = torch.linalg.vector_norm((current.to(wide) - base).flatten(1), ord=1, dim=1)
    scale = torch.linalg.vector_norm(base.flatten(1), ord=1, dim=1)
    change = torch.where(moved == 0, 0.0, moved / scale)
    return change.nan_to_num(nan=torch.inf, posinf=torch.inf).float()


def per_sample(change: Tensor, rows_per_sample: int) -> Tensor:
    """Take the largest change among the batch rows of each sample.

    Args:
        change: ``[R]``, rows in the order of batched guidance: sample ``b`` of ``B`` owns the rows
            ``b, b + B, ...``.
        rows_per_sample: 1 without guidance, 2 with its conditional and unconditional rows.

    Returns:
        ``[B]``, ``B = R / rows_per_sample``.

    Raises:
        ValueError: ``rows_per_sample`` does not divide ``R``.
    """
    return split_rows(change, rows_per_sample).amax(dim=0)
