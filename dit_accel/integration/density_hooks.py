"""Hooks of the density method `sparse`: each block of a segment in its role.

FlexDiT / SparseDiT (arXiv 2412.06028). A block and its modules run as they are, on the tokens that
carry the queries; one hook hands its self-attention other keys and values, or the mean token. So
adapters, processors, exact modulations and kept text keys act as in any block. The hooks lie inside
of those of the caches: whatever is remembered is on the full grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.hooks import ModelHook
from torch import nn

from dit_accel.backbones import Backbone
from dit_accel.integration.attach import DENSITY_HOOK_NAME, attach
from dit_accel.integration.calls import NamedArgumentsHook
from dit_accel.integration.density_parts import follow, fresh_parts, segments_of
from dit_accel.integration.hooks import refuse_fused, refuse_mask
from dit_accel.integration.segment_state import SegmentState
from dit_accel.methods.cell import Operators
from dit_accel.methods.sparse_density import SparseCell, SparseDensity
from dit_accel.nn.pooling_attention import pooling_attention
from dit_accel.tokens.cells import Cells, cells_between
from dit_accel.tokens.grid import Grid
from dit_accel.tokens.positions import window_centres

Forward = Callable[..., torch.Tensor]
Modulate = Callable[[Any, torch.Tensor, dict[str, Any]], torch.Tensor]

# Roles in which keys and values are of the sparse tokens.
_SPARSE_KEYS = ("sparse", "recover")


class DensityAttentionHook(ModelHook):
    """Around a self-attention.

    Attributes:
        pools: whether it is over the mean token.
        context: makes the modulated tokens that keys and values are of, `None` for the queries'
            own. It is called in here, where offloaded weights of the block are in place.
        key_bias: what is added to the logits of each key, ``[M]``, where cells differ in size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pools = False
        self.context: Callable[[], torch.Tensor] | None = None
        self.key_bias: torch.Tensor | None = None

    def new_forward(
        self,
        module: nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """`[R, N, C] -> [R, N, C]`."""
        forward: Forward = self.fn_ref.original_forward
        if self.pools:
            return pooling_attention(lambda token: forward(token, **kwargs), hidden_states)
        # Where an attention operator has chosen the keys they are no cells of the sparse grid.
        if self.key_bias is not None and encoder_hidden_states is None:
            bias = self.key_bias.to(hidden_states.dtype)
            kwargs["attention_mask"] = bias.expand(hidden_states.shape[0], 1, -1)
        if self.context is not None:
            refuse_fused(module)
            encoder_hidden_states = self.context()
        return forward(hidden_states, encoder_hidden_states=encoder_hidden_states, **kwargs)


class DensityBlockHook(NamedArgumentsHook):
    """Around a block.

    Args:
        attention: the hook of its self-attention.
        modulate: what that attention sees of tokens, `Backbone.modulated_input`.

    Attributes:
        cell: what the block does, `None` where it is dense.
        state: of its segment, `None` outside of them.
    """

    taken = 1

    def __init__(self, attention: DensityAttentionHook, modulate: Modulate) -> None:
        super().__init__()
        self.cell: SparseCell | None = None
        self.state: SegmentState | None = None
        self._attention, self._modulate = attention, modulate

    def new_forward(
        self, module: nn.Module, hidden_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """`[R, N, C]` or, inside a segment, `[R, M, C]`."""
        forward: Forward = self.fn_ref.original_forward
        cell, state = self.cell, self.state
        if cell is None:
            return forward(hidden_states, *args, **kwargs)
        if args:  # gradient checkpointing hands everything over by position
            kwargs = self.named(args, kwargs)
        refuse_mask(kwargs.get("attention_mask"), "density")
        if state is None:
            return forward(hidden_states, **kwargs)
        place, context = cell.place, None
        if place.enters:
            hidden_states = state.enter(hidden_states)
        if place.role == "merge":
            assert state.entered is not None
            context = state.entered.dense
        if place.role == "recover":
            context, hidden_states = hidden_states, state.leave(hidden_states)
        if context is not None:
            tokens = context
            self._attention.context = lambda: self._modulate(module, tokens, kwargs)
        hidden_states = forward(hidden_states, **kwargs)
        self._attention.context = None
        return state.leave(hidden_states) if place.leaves else hidden_states


class DensityHooks:
    """Those of one transformer.

    Args:
        transformer: to attach to.
        backbone: its family.
        config: the density method.
        learned: parts to go on with, in place of fresh ones.

    Attributes:
        learned: the parts of each segment, by name; not a part of the transformer.
        states: what the blocks of each segment share.
    """

    def __init__(
        self,
        transformer: Any,
        backbone: Backbone,
        config: SparseDensity,
        learned: nn.ModuleDict | None = None,
    ) -> None:
        self._backbone = backbone
        blocks = backbone.blocks(transformer)
        layout = config.layout_for(len(blocks))
        if learned is None:
            learned = fresh_parts(transformer, config, layout.segments)
        self.learned = learned
        self.states = [SegmentState(part) for part in segments_of(learned)]
        self._made_for: tuple[Any, ...] = ()
        self._positions: dict[Grid, torch.Tensor] = {}
        self._cells: dict[Grid, Cells] = {}
        self._key_biases: dict[Grid, torch.Tensor | None] = {}
        # The paper's windows overlap, and it weighs no keys.
        self._weighs_keys = config.form == "delta"
        self._attentions: list[DensityAttentionHook] = []
        self._blocks: list[DensityBlockHook] = []
        for block, place in zip(blocks, layout.places(), strict=True):
            self._attach(block, None if place.segment is None else self.states[place.segment])

    def _attach(self, block: nn.Module, state: SegmentState | None) -> None:
        attention = DensityAttentionHook()
        hook = DensityBlockHook(attention, self._backbone.modulated_input)
        hook.state = state
        attach(block, hook, DENSITY_HOOK_NAME)
        attach(self._backbone.self_attention(block), attention, DENSITY_HOOK_NAME)
        self._blocks.append(hook)
        self._attentions.append(attention)

    def arm(
        self, transformer: nn.Module, latents: torch.Tensor, layers: Sequence[Operators]
    ) -> None:
        """Set what each block does in the forward that begins, on latents `[R, C, H, W]`."""
        cells = [
            layer.density if isinstance(layer.density, SparseCell) else None for layer in layers
        ]
        known = next((cell for cell in cells if cell is not None), None)
        bias = None
        if known is not None:
            self._prepare(transformer, latents, known)
            bias = self._key_biases[known.grid]
        for cell, block, attention in zip(cells, self._blocks, self._attentions, strict=True):
            role = None if cell is None else cell.place.role
            block.cell, attention.context = cell, None
            attention.pools = role == "pool"
            attention.key_bias = bias if role in _SPARSE_KEYS else None

    def _prepare(self, transformer: nn.Module, latents: torch.Tensor, known: SparseCell) -> None:
        """Parts, maps and embeddings for a forward between two grids."""
        follow(self.learned, latents.device)
        with torch.inference_mode(False):  # training may follow, and needs them for backward
            self._make(transformer, latents, known.full, known.grid)
        positions = self._positions[known.grid], self._positions[known.full]
        for state in self.states:
            state.cells, state.positions = self._cells[known.grid], positions
            state.differentiates = torch.is_grad_enabled()

    def _make(self, transformer: nn.Module, latents: torch.Tensor, full: Grid, grid: Grid) -> None:
        """Maps and embeddings of a grid: once, for as long as the model's own stays the same."""
        wanted = (full, latents.device, latents.dtype)
        if wanted != self._made_for:
            self._made_for = wanted
            self._positions, self._cells, self._key_biases = {}, {}, {}
        if grid not in self._cells:
            cells = self._cells[grid] = cells_between(full, grid, latents.device)
            sizes = cells.sizes if self._weighs_keys else None
            self._key_biases[grid] = None if sizes is None else sizes.to(latents.dtype).log()
        for each in (grid, full):
            if each not in self._positions:
                points = window_centres(full, each)
                made = self._backbone.position_embedding(transformer, *points, full)
                self._positions[each] = made.to(latents)

    def forget(self) -> None:
        """Let go of the tokens of a run."""
        for state in self.states:
            state.forget()
        for attention in self._attentions:
            attention.context = None
