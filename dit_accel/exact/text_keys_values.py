"""`text_keys_values` of PixArt: projected text and its keys and values kept over the steps.

The text does not change during a run, and its projection, keys and values are affine (or a small
MLP) of the text alone; stock computes them at every step in every block. Equal rows, such as one
negative prompt for all samples, are computed and kept once.

What travels through the blocks instead of the projected text is the number of each row's text, in
the text's shape (and no memory of its own): whoever gathers rows on the way to a block gathers the
text alike. The cross-attention of a block opens it: to the kept keys and values, or to the text
itself where this block's projections do more than a stock layer (LoRA).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.hooks import ModelHook
from diffusers.models import attention_processor as processors
from torch import nn

from dit_accel.exact.forward import Forward, TensorForward
from dit_accel.exact.sites import Site, Weights
from dit_accel.exact.text_rows import HeldText, distinct_rows
from dit_accel.integration.attach import EXACT_HOOK_NAME, attach

# Of one guidance call; blocks beyond it compute their keys and values at each step.
BUDGET_BYTES = 1024 * 2**20

# Processors that take the text to `to_k` and `to_v` and look at its shape alone.
_PROCESSORS = (
    processors.AttnProcessor,
    processors.AttnProcessor2_0,
    processors.XFormersAttnProcessor,
)


@dataclass(frozen=True)
class _Memory:
    """`projected [U, L, D]` of U distinct texts, keys and values `[U, L, D]` of each block."""

    text: HeldText
    places: torch.Tensor
    projected: torch.Tensor
    keys: tuple[torch.Tensor | None, ...]
    values: tuple[torch.Tensor | None, ...]

    @property
    def nbytes(self) -> int:
        kept = (*self.keys, *self.values, self.projected)
        return sum(tensor.nbytes for tensor in kept if tensor is not None)


class _Block:
    """What the hooks of one block share while a forward runs."""

    def __init__(self) -> None:
        self.projected: torch.Tensor | None = None
        self.keys: torch.Tensor | None = None
        self.values: torch.Tensor | None = None
        self.rows: torch.Tensor | None = None


class _ProjectionHook(ModelHook):
    """Gives out the numbers of the texts, `[R, L, D]`."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: torch.Tensor | None = None

    def new_forward(self, module: nn.Module, caption: torch.Tensor) -> torch.Tensor:
        """`[R, L, D_text] -> [R, L, D]`."""
        forward: TensorForward = self.fn_ref.original_forward
        return forward(caption) if self.numbers is None else self.numbers


class _CrossAttentionHook(ModelHook):
    """Opens the numbers."""

    def __init__(self, block: _Block) -> None:
        super().__init__()
        self._block = block

    def new_forward(
        self,
        module: nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """`[r, N, D] -> [r, N, D]`."""
        forward: TensorForward = self.fn_ref.original_forward
        block = self._block
        if block.projected is not None and encoder_hidden_states is not None:
            block.rows = encoder_hidden_states[:, 0, 0]
            if block.keys is None:
                encoder_hidden_states = block.projected[block.rows]
        output = forward(hidden_states, encoder_hidden_states=encoder_hidden_states, **kwargs)
        block.rows = None
        return output


class _KeptHook(ModelHook):
    """Keys or values by row."""

    def __init__(self, block: _Block, name: str) -> None:
        super().__init__()
        self._block, self._name = block, name

    def new_forward(self, module: nn.Module, text: torch.Tensor) -> torch.Tensor:
        """`[r, L, D] -> [r, L, D]`."""
        forward: TensorForward = self.fn_ref.original_forward
        kept: torch.Tensor | None = getattr(self._block, self._name)
        rows = self._block.rows
        if kept is None or rows is None:
            return forward(text)
        return kept[rows]


class TextKeysValues:
    """The rewrite on one PixArt.

    Args:
        transformer: a `PixArtTransformer2DModel` with a caption projection.
        attentions: the cross-attention of each block.
        budget: bytes of a guidance call's keys and values.
    """

    def __init__(
        self, transformer: Any, attentions: Sequence[Any], budget: int = BUDGET_BYTES
    ) -> None:
        self._attentions, self._budget = attentions, budget
        self._projection = Site.of(transformer, "caption_projection")
        self._sites = [(Site.of(a, "to_k"), Site.of(a, "to_v")) for a in attentions]
        self._blocks = [_Block() for _ in attentions]
        self._hook = _ProjectionHook()
        self._memories: dict[int, _Memory] = {}
        kept = [site.module for pair in self._sites for site in pair]
        self._weights = Weights([self._projection.module, *kept])
        self._stock: list[bool] = []
        self._projection_is_stock: bool | None = None
        self._attach()

    def _attach(self) -> None:
        attach(self._projection.module, self._hook, EXACT_HOOK_NAME)
        for attention, sites, block in zip(
            self._attentions, self._sites, self._blocks, strict=True
        ):
            attach(attention, _CrossAttentionHook(block), EXACT_HOOK_NAME)
            for site, name in zip(sites, ("keys", "values"), strict=True):
                attach(site.module, _KeptHook(block, name), EXACT_HOOK_NAME)

    @property
    def nbytes(self) -> int:
        """Bytes of projected text, keys and values."""
        return sum(memory.nbytes for memory in self._memories.values())

    def stand_aside(self) -> None:
        """Every block projects the text by itself."""
        self._hook.numbers = None
        for block in self._blocks:
            block.projected = block.keys = block.values = block.rows = None

    def forget(self) -> None:
        """Free what is kept; look again what the modules are."""
        self.stand_aside()
        self._memories, self._projection_is_stock = {}, None

    def begin_forward(self, forward: Forward) -> dict[str, Any]:
        """Hand each block what is kept of this text; computed anew for another text."""
        self.stand_aside()
        text = forward.arguments.get("encoder_hidden_states")
        if text is None or text.ndim != 3 or len(text) != len(forward.latents):
            return {}
        if not self._usable():
            return {}
        if self._weights.changed():
            self._memories = {}
        memory = self._memories.get(forward.branch)
        kept = [self._keeps(layer) for layer in range(len(self._blocks))]
        if memory is None or not memory.text.is_same(text):
            self._memories.pop(forward.branch, None)
            memory = self._memories[forward.branch] = self._compute(text, kept)
        self._arm(memory, kept)
        return {}

    def _arm(self, memory: _Memory, kept: list[bool]) -> None:
        self._hook.numbers = memory.places[:, None, None].expand(
            len(memory.places), *memory.projected.shape[1:]
        )
        for layer, block in enumerate(self._blocks):
            block.projected = memory.projected
            if kept[layer]:
                block.keys, block.values = memory.keys[layer], memory.values[layer]

    def _usable(self) -> bool:
        if not self._projection.in_place:
            return False
        if self._projection_is_stock is None:
            self._projection_is_stock = self._projection.is_stock
            self._stock = [all(site.is_stock for site in pair) for pair in self._sites]
        return self._projection_is_stock

    def _keeps(self, layer: int) -> bool:
        """Whether the keys and values of a block are those that its stock layers compute."""
        attention = self._attentions[layer]
        return (
            self._stock[layer]
            and all(site.in_place for site in self._sites[layer])
            and type(attention.processor) in _PROCESSORS
            and not attention.norm_cross
            and not attention.fused_projections
        )

    def _compute(self, text: torch.Tensor, kept: list[bool]) -> _Memory:
        rows, places = distinct_rows(text)
        projected = self._projection.module(text[rows])
        room = self._budget // max(1, 2 * projected.nbytes)
        pairs: list[tuple[torch.Tensor | None, torch.Tensor | None]] = []
        for sites, keep in zip(self._sites, kept, strict=True):
            fits = keep and room > 0
            room -= fits
            to_k, to_v = (site.module for site in sites)
            pairs.append((to_k(projected), to_v(projected)) if fits else (None, None))
        keys, values = zip(*pairs, strict=True)
        numbers = torch.tensor(places).to(text.device, non_blocking=True)
        return _Memory(HeldText(text), numbers, projected, keys, values)
