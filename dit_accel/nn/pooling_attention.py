"""Poolingformer: attention replaced by the mean of the values.

FlexDiT / SparseDiT (arXiv 2412.06028): softmax over an all-ones ``N x N`` matrix times ``V``, i.e.
every token gets ``W_o (W_v mean(u) + b_v) + b_o``, as value and output projections are affine. The
release multiplies by the ``N x N`` matrix; one token does. An attention over a single token returns
its value whatever query and key are, since the softmax of one logit is 1: so the pretrained module
itself is called, with whatever processor and adapters it has, on the mean token.
"""

from collections.abc import Callable

from torch import Tensor


def pooling_attention(attention: Callable[[Tensor], Tensor], hidden_states: Tensor) -> Tensor:
    """The same vector for every token of a row.

    Args:
        attention: self-attention ``[B, n, C] -> [B, n, C]`` for any ``n``.
        hidden_states: ``u``, ``[B, N, C]``.

    Returns:
        ``[B, N, C]``, a view of ``[B, 1, C]``.
    """
    return attention(hidden_states.mean(1, keepdim=True)).expand_as(hidden_states)
