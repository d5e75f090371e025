"""ToCa (arXiv 2410.05317) and DuCa (arXiv 2412.18911): which tokens are computed in between.

The score of a token is

    s = s_1 + 0.25 s_3,    then s_4: the best token of each 2 x 2 cell gains 60 % of its score,

with ``s_1`` how much the others attend to it (column sums of the attention map at the last full
step), or, as in DuCa, the norm of its value vector, which needs no ``N x N`` map and leaves the
fused attention kernels alone; and ``s_3`` how long ago it was computed, in units of the interval.
``s_1`` is normalised over the tokens of a row.

The releases score every row alone, so that the conditional and the unconditional row of a sample
compute different tokens; here rows of a sample are averaged (`scores_of_samples`). DuCa doesn't say
in public which end of the value norms is the important one; the larger is taken.
"""

import torch
from torch import Tensor
from torch.nn import functional

from dit_accel.forecast.rows import split_rows
from dit_accel.tokens.grid import Grid


def attention_received(attention: Tensor) -> Tensor:
    """``s_1`` of ToCa.

    Args:
        attention: ``[R, N, N]``, softmax over the last dimension, mean of the heads.

    Returns:
        ``[R, N]``, of unit Euclidean norm in each row.
    """
    return functional.normalize(attention.float().sum(dim=1), dim=1)


def value_norms(values: Tensor) -> Tensor:
    """``s_1`` of DuCa.

    Args:
        values: ``[R, N, C]``, the value vectors of all heads, concatenated.

    Returns:
        ``[R, N]``, of unit Euclidean norm in each row.
    """
    return functional.normalize(torch.linalg.vector_norm(values.float(), dim=-1), dim=1)


def with_staleness(scores: Tensor, age: Tensor, interval: float, weight: float = 0.25) -> Tensor:
    """Add ``s_3``: ``weight * age / interval``, with ``age`` ``[R, N]`` in steps."""
    return scores + weight * age / interval


def with_local_bonus(scores: Tensor, grid: Grid, bonus: float = 0.6, cell: int = 2) -> Tensor:
    """Apply ``s_4``: the best token of each cell gains ``bonus`` times its score.

    Spreads the choice over the image. On a tie the first token in raster order gains.

    Args:
        scores: ``[R, N]`` in raster order, ``N = grid.size``.
        grid: the grid of the tokens; sides that ``cell`` doesn't divide have smaller cells at
            the end.
        bonus: share of the score.
        cell: side of a cell, in tokens.

    Raises:
        ValueError: ``N != grid.size``.
    """
    if scores.shape[1] != grid.size:
        raise ValueError(f"got {scores.shape[1]} scores for a {grid} grid, which has {grid.size}")
    height, width = (-(-side // cell) for side in grid)
    padding = (0, width * cell - grid.width, 0, height * cell - grid.height)
    padded = functional.pad(scores.reshape(-1, *grid), padding, value=-torch.inf)
    cells = padded.reshape(-1, height, cell, width, cell).transpose(2, 3).flatten(3)
    best = cells.argmax(dim=-1)[..., None] == torch.arange(cell * cell, device=cells.device)
    gained = torch.where(best, cells + bonus * cells, cells)
    image = gained.reshape(-1, height, width, cell, cell).transpose(2, 3)
    image = image.reshape(-1, height * cell, width * cell)
    return image[:, : grid.height, : grid.width].reshape(scores.shape)


def scores_of_samples(scores: Tensor, rows_per_sample: int) -> Tensor:
    """Mean over the rows of each sample, ``[R, N] -> [B, N]``; sample ``b`` owns ``b, b + B, ...``.

    Raises:
        ValueError: ``rows_per_sample`` does not divide ``R``.
    """
    return split_rows(scores, rows_per_sample).mean(dim=0)


def select_tokens(scores: Tensor, count: int) -> Tensor:
    """The tokens with the highest scores of each sample.

    Args:
        scores: ``[B, N]``.
        count: how many, from 0 to ``N``.

    Returns:
        Long ``[B, count]``, highest first; the first in raster order wins a tie.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    return order[:, :count]


def renewed_age(age: Tensor, selected: Tensor) -> Tensor:
    """One step later: ``[B, N]``, zero for the ``selected`` ``[B, count]``, one more for others."""
    return (age + 1).scatter(1, selected, 0)


def token_share(
    share: float,
    countdown: float,
    depth: float,
    step_weight: float = 2.0,
    layer_weight: float = -0.2,
) -> float:
    """Share of the tokens whose feed-forward is computed in one layer and step, at most 1.

    ``share * (1 + w_s (1 - 2 s)) * (1 + w_l (1 - 2 l)) * 2.5``; the factor 2.5 is what leaving
    attention out saves for the feed-forward.

    Args:
        share: ``R``: 0.07 for DiT with ToCa, 0.05 with DuCa, 0.30 for PixArt with ToCa.
        countdown: ``s``, share of the run that is left, 1 at the start.
        depth: ``l``, 0 for the first block and 1 for the last.
        step_weight: ``w_s``: 2.0 in the release for 50 DDIM steps, 0.4 for 250 DDPM steps.
        layer_weight: ``w_l``: -0.2 and 0.8.
    """
    by_step = 1.0 + step_weight * (1.0 - 2.0 * countdown)
    by_layer = 1.0 + layer_weight * (1.0 - 2.0 * depth)
    return min(1.0, max(0.0, share * by_step * by_layer * 2.5))
