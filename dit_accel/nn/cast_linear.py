"""A linear layer that computes in the precision of its input, whatever its weights are kept in."""

from torch import Tensor, nn
from torch.nn import functional


class CastLinear(nn.Linear):
    """`nn.Linear` for float32 weights inside of a half-precision model: nothing is ever lost."""

    def forward(self, input: Tensor) -> Tensor:
        """``[..., C] -> [..., C']``."""
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return functional.linear(input, self.weight.to(input.dtype), bias)
