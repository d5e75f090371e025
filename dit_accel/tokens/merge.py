"""Merge matched tokens into their mean, and hand the result back to every member.

With ``W`` the matrix of `merge` and ``U`` that of `unmerge`: ``W`` is row-stochastic,
``W U = I``, ``(U W)^2 = U W``, and the sizes of the merged tokens sum to ``N``. Means are weighted
by the number of tokens each token already stands for, so that merging twice is still a mean over
the original tokens (ToMe, arXiv 2210.09461, section 3; ``tomesd`` leaves the sizes out).
"""

import torch
from torch import Tensor

from dit_accel.tokens.match import Matching


def merge(hidden_states: Tensor, matching: Matching, sizes: Tensor | None = None) -> Tensor:
    """Replace each destination and the sources matched to it by their size-weighted mean.

    Args:
        hidden_states: ``[B, N, C]``; half-precision means are accumulated in float32.
        matching: a matching of the same ``B`` and ``N``.
        sizes: ``[B, N]`` positive weights, the tokens each token stands for; ones when None.

    Returns:
        ``[B, N - r, C]``: the unmerged sources, unchanged, then the destinations.
    """
    dst = matching.destinations.dst
    accumulate = torch.promote_types(hidden_states.dtype, torch.float32)
    anchors = hidden_states.index_select(1, dst).to(accumulate)
    moved = _take(hidden_states, matching.merged).to(accumulate)
    if sizes is not None:
        anchors = anchors * sizes.index_select(1, dst)[..., None]
        moved = moved * sizes.gather(1, matching.merged)[..., None]
    totals = merged_sizes(matching, sizes)[:, matching.unmerged.shape[1] :, None]
    sums = anchors.scatter_add(1, matching.target[..., None].expand_as(moved), moved)
    unmerged = _take(hidden_states, matching.unmerged)
    return torch.cat([unmerged, (sums / totals).to(hidden_states.dtype)], dim=1)


def unmerge(hidden_states: Tensor, matching: Matching) -> Tensor:
    """Give every token the value of the merged token it went into.

    Args:
        hidden_states: ``[B, N - r, C]`` in the order of `merge`.
        matching: the matching they were merged by.

    Returns:
        ``[B, N, C]`` in the original order.

    Raises:
        ValueError: the number of tokens is not that of the merged sequence.
    """
    if hidden_states.shape[1] != matching.num_rows:
        raise ValueError(
            f"got {hidden_states.shape[1]} tokens to unmerge, the matching left {matching.num_rows}"
        )
    return _take(hidden_states, matching.assignment)


def merged_sizes(matching: Matching, sizes: Tensor | None = None) -> Tensor:
    """Sum the sizes of the tokens that each merged token stands for.

    Args:
        matching: a matching of ``N`` tokens.
        sizes: ``[B, N]`` sizes before the merge; ones when None.

    Returns:
        ``[B, N - r]`` in the order of `merge`, float32 when ``sizes`` is None; each row sums to
        the sum of the sizes before. Their logarithm is the key bias of proportional attention.
    """
    assignment = matching.assignment
    if sizes is None:
        sizes = torch.ones(assignment.shape, dtype=torch.float32, device=assignment.device)
    sums = torch.zeros(
        assignment.shape[0], matching.num_rows, dtype=sizes.dtype, device=sizes.device
    )
    return sums.scatter_add(1, assignment, sizes)


def _take(hidden_states: Tensor, index: Tensor) -> Tensor:
    """Gather tokens ``[B, K, C]`` by an index ``[B, K]``."""
    return hidden_states.gather(1, index[..., None].expand(-1, -1, hidden_states.shape[-1]))
