"""All hooks of a plan on one transformer: where they are attached, and how a step arms them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from dit_accel.backbones import Backbone
from dit_accel.integration.attach import attach
from dit_accel.integration.begun_call import BegunCall
from dit_accel.integration.density_hooks import DensityHooks
from dit_accel.integration.hooks import AttentionHook, BlockHook, FeedForwardHook, TransformerHook
from dit_accel.integration.looks import look_of
from dit_accel.integration.module_hooks import ModuleHooks
from dit_accel.methods.caching.cache_run import CacheRun
from dit_accel.methods.caching.guidance_run import GuidanceRun
from dit_accel.methods.caching.output_run import OutputRun
from dit_accel.methods.caching.placement import Spans
from dit_accel.methods.cell import Operators
from dit_accel.methods.pooled_density import PooledBlock
from dit_accel.methods.sparse_density import SparseDensity
from dit_accel.plan import Plan
from dit_accel.program import cell_at, merge_of
from dit_accel.run_state import Position
from dit_accel.tokens.grid import Grid

Begin = Callable[[nn.Module, Mapping[str, Any]], dict[str, Any]]


class PlanHooks:
    """Attached as they are made; those inside the blocks last, by `attach_to_modules`.

    Args:
        transformer: to attach to.
        backbone: its family.
        plan: what decides which hooks there are.
        spans: the blocks that each cache remembers.
        begin: called as a forward begins.
        learned: parts of the density method to go on with, in place of fresh ones.
    """

    def __init__(
        self,
        transformer: nn.Module,
        backbone: Backbone,
        plan: Plan,
        spans: Sequence[Spans],
        begin: Begin,
        learned: nn.ModuleDict | None = None,
    ) -> None:
        self.plan, self.backbone = plan, backbone
        self.num_layers = len(backbone.blocks(transformer))
        self.blocks: list[BlockHook] = []
        self.attentions: list[AttentionHook] = []
        self.feed_forwards: list[FeedForwardHook] = []
        self.merges: dict[tuple[int, int, int], Any] = {}
        self.modules: ModuleHooks | None = None
        root = TransformerHook(begin)
        attach(transformer, root)
        # Weak: it knows the transformer, which a plan must not keep alive.
        self.root = weakref.ref(root)
        self.density: DensityHooks | None = None
        if isinstance(plan.density, SparseDensity):
            self.density = DensityHooks(transformer, backbone, plan.density, learned)
        for block in backbone.blocks(transformer):
            self._attach_to_block(block, any(spans))
        self._place(spans)

    def _attach_to_block(self, block: nn.Module, remembered: bool) -> None:
        merge = merge_of(self.plan)
        at = () if merge is None else merge.at
        if remembered or (self.plan.density is not None and self.density is None):
            self.blocks.append(BlockHook(self.backbone.row_arguments))
            attach(block, self.blocks[-1])
        if self.plan.attention is not None or "attention" in at:
            self.attentions.append(AttentionHook())
            attach(self.backbone.self_attention(block), self.attentions[-1])
        if "feed_forward" in at:
            self.feed_forwards.append(FeedForwardHook())
            attach(self.backbone.feed_forward(block), self.feed_forwards[-1])

    def _place(self, spans: Sequence[Spans]) -> None:
        """Tell each block where it lies in the spans of the caches; this never changes."""
        self._owners = [-1] * self.num_layers
        for index, (cache, of_cache) in enumerate(zip(self.plan.cache, spans, strict=True)):
            for span in of_cache:
                self.blocks[span[0]].opens = self.blocks[span[-1]].closes = True
                for layer in span:
                    self._owners[layer] = index
            if cache.policy.looks_at == "first_blocks":
                self.blocks[of_cache[0][0]].decides = True

    def attach_to_modules(self, transformer: nn.Module) -> None:
        """The caches inside the blocks, around whatever was attached before."""
        blocks = self.backbone.blocks(transformer)
        self.modules = ModuleHooks(blocks, self.backbone, self.plan.cache)

    def arm(
        self, position: Position, grid: Grid, layers: Sequence[Operators], call: BegunCall
    ) -> None:
        """Set what each hook does in the forward that begins."""
        self._show_output(call.guidance, call.watcher, call.output)
        self._arm_blocks(layers, call)
        assert self.modules is not None
        self.modules.arm(call.modules)
        if len(call.skipped_layers) == self.num_layers:
            return  # no module inside a block will run
        for layer, attention in enumerate(self.attentions):
            attention.operator = layers[layer].attention
            attention.merge = layers[layer].merge_attention
            attention.memory = self._merge_memory(attention.merge, layer, position, grid)
        for layer, feed_forward in enumerate(self.feed_forwards):
            feed_forward.merge = layers[layer].merge_feed_forward
            feed_forward.memory = self._merge_memory(feed_forward.merge, layer, position, grid)

    def _arm_blocks(self, layers: Sequence[Operators], call: BegunCall) -> None:
        owners = {layer: run for run in call.runs for layer in run.memory.rings}
        for layer, hook in enumerate(self.blocks):
            density, hook.cache = layers[layer].density, owners.get(layer)
            hook.density = density if isinstance(density, PooledBlock) else None
            hook.ring = None if hook.cache is None else hook.cache.memory.rings[layer]
        for run in call.runs:
            if run.config.per_sample:
                first = self.blocks[0]
                first.probe = run if run.config.policy.looks_at == "first_blocks" else None
                first.look = look_of(run, self.backbone, self.blocks[-1])

    def _merge_memory(self, merge: Any, layer: int, position: Position, grid: Grid) -> Any:
        method = merge_of(self.plan)
        if merge is None or method is None:
            return None
        cell = cell_at(layer, self.num_layers, position, grid)
        # Blocks of a cache that decides by sample see only some of the rows that others see.
        key = (position.branch, method.group(cell), self._owners[layer])
        if key not in self.merges:
            self.merges[key] = merge.memory()
        merge.prepare(self.merges[key], self.plan.seed, cell)
        return self.merges[key]

    def _show_output(
        self,
        guidance: GuidanceRun | None = None,
        watcher: CacheRun | None = None,
        output: OutputRun | None = None,
    ) -> None:
        """To whom the hook of the transformer hands its output: first who completes the rows."""
        root = self.root()
        if root is not None:
            root.guidance, root.watcher, root.output = guidance, watcher, output

    def forget(self) -> None:
        """Let go of everything that a run left with the hooks."""
        self.merges = {}
        self._show_output()
        for hook in self.blocks:
            hook.cache = hook.probe = hook.look = hook.ring = None
        if self.modules is not None:
            self.modules.arm({})
        if self.density is not None:
            self.density.forget()
        for attention in self.attentions:
            attention.memory = None
        for feed_forward in self.feed_forwards:
            feed_forward.memory = None
