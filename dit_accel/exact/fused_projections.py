"""`fused_projections`: q, k and v of an attention as one matrix product.

The stacked weight is a copy beside the model's own parameters, which nobody touches: `state_dict`,
optimizers and adapters see what they always saw. It is made anew for each run and where weights
change in mid-run, since averages of weights are written in ways that leave no mark. The processor
in place stays; it asks for q, k and v one after the other, the first one computes all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.hooks import ModelHook
from torch import nn

from dit_accel.exact.forward import Forward, TensorForward
from dit_accel.exact.sites import Site, Weights
from dit_accel.integration.attach import EXACT_HOOK_NAME, attach


class _Fused:
    """The stacked projections of one attention while a forward runs."""

    def __init__(self) -> None:
        self.weight: torch.Tensor | None = None
        self.bias: torch.Tensor | None = None
        self.tokens: torch.Tensor | None = None
        self.parts: tuple[torch.Tensor, ...] = ()

    def let_go(self) -> None:
        """Forget the forward, not the weights."""
        self.tokens, self.parts = None, ()


class _PartHook(ModelHook):
    """One of the projections: the first computes all of them, the last frees them."""

    def __init__(self, fused: _Fused, index: int, count: int) -> None:
        super().__init__()
        self._fused, self._index, self._count = fused, index, count

    def new_forward(self, module: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
        """`[r, N, D] -> [r, N, D]`."""
        forward: TensorForward = self.fn_ref.original_forward
        fused = self._fused
        if fused.weight is None:
            return forward(tokens)
        if self._index == 0:
            joint = F.linear(tokens, fused.weight, fused.bias)
            fused.tokens, fused.parts = tokens, joint.chunk(self._count, dim=-1)
        elif fused.tokens is not tokens:  # keys and values of other tokens than the queries
            return forward(tokens)
        part = fused.parts[self._index]
        if self._index == self._count - 1:
            fused.let_go()
        return part


class _Attention:
    """One attention and its stacked copy."""

    def __init__(self, module: Any, names: Sequence[str], layer: int, is_self: bool) -> None:
        self.module, self.layer, self.is_self = module, layer, is_self
        self.sites = [Site.of(module, name) for name in names]
        self.fused = _Fused()
        self.weight: torch.Tensor | None = None
        self.bias: torch.Tensor | None = None
        for index, site in enumerate(self.sites):
            attach(site.module, _PartHook(self.fused, index, len(names)), EXACT_HOOK_NAME)

    @property
    def in_place(self) -> bool:
        return all(site.in_place for site in self.sites)

    def stack(self, device: torch.device) -> None:
        """Copy the weights, if they are stock layers of one shape, and here."""
        self.weight = self.bias = None
        layers: list[Any] = [site.module for site in self.sites]
        if not all(type(layer) is nn.Linear for layer in layers):
            return
        if not all(site.is_stock for site in self.sites) or not _alike(layers, device):
            return
        self.weight = torch.cat([layer.weight.detach() for layer in layers])
        if layers[0].bias is not None:
            self.bias = torch.cat([layer.bias.detach() for layer in layers])


class FusedProjections:
    """The rewrite on one transformer.

    Args:
        attentions: self-attention of each block, q, k and v of which are stacked.
        cross_attentions: cross-attention of each block, k and v of which are stacked.
    """

    def __init__(self, attentions: Sequence[Any], cross_attentions: Sequence[Any]) -> None:
        self._attentions = [
            *(_Attention(a, ("to_q", "to_k", "to_v"), i, True) for i, a in enumerate(attentions)),
            *(_Attention(a, ("to_k", "to_v"), i, False) for i, a in enumerate(cross_attentions)),
        ]
        self._weights = Weights(s.module for a in self._attentions for s in a.sites)
        self._stacked = False

    @property
    def nbytes(self) -> int:
        """Bytes of the stacked copies."""
        kept = (tensor for a in self._attentions for tensor in (a.weight, a.bias))
        return sum(tensor.nbytes for tensor in kept if tensor is not None)

    def stand_aside(self) -> None:
        """Every projection computes its own."""
        for attention in self._attentions:
            attention.fused.weight = attention.fused.bias = None
            attention.fused.let_go()

    def forget(self) -> None:
        """Free the copies."""
        self.stand_aside()
        self._stacked = False
        for attention in self._attentions:
            attention.weight = attention.bias = None

    def begin_forward(self, forward: Forward) -> dict[str, Any]:
        """Arm the attentions that see one set of tokens; stack weights that changed."""
        self.stand_aside()
        if self._weights.changed() or not self._stacked:
            for attention in self._attentions:
                attention.stack(forward.latents.device)
            self._stacked = True
        for attention in self._attentions:
            layer = forward.layers[attention.layer]
            apart = attention.is_self and (layer.attention is not None or layer.hands_tokens)
            if not apart and attention.in_place:
                attention.fused.weight, attention.fused.bias = attention.weight, attention.bias
        return {}


def _alike(layers: Sequence[nn.Linear], device: torch.device) -> bool:
    """Whether weights of one shape and dtype are on the device, all with a bias or all without."""
    return all(
        layer.weight.shape == layers[0].weight.shape
        and layer.weight.dtype == layers[0].weight.dtype
        and layer.weight.device == device
        and (layer.bias is None) == (layers[0].bias is None)
        for layer in layers
    )
