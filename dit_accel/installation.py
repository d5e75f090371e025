"""A plan at work on one transformer: its hooks, its clock, and what its methods remember."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dit_accel.attach import attach, detach_all
from dit_accel.backbones import Backbone
from dit_accel.errors import RunError, UnsupportedError
from dit_accel.hooks import AttentionHook, BlockHook, FeedForwardHook, TransformerHook
from dit_accel.methods.cache import CacheConfig, SpanMemory
from dit_accel.methods.cache_run import CacheRun
from dit_accel.methods.cell import Operators
from dit_accel.observe import SchedulerObserver
from dit_accel.plan import Plan
from dit_accel.program import (
    StepProgram,
    cache_action,
    cache_of,
    cell_at,
    merge_of,
    resolve_layers,
)
from dit_accel.run_state import Position, RunClock
from dit_accel.statistics import Call, RunStatistics
from dit_accel.tokens.grid import Grid


class Installation:
    """Hooks of `plan` on `transformer`; `remove` takes every trace away.

    Attributes:
        guidance: whether rows b and b + R/2 belong to one sample; `None` finds out by itself.
        statistics: counters of the run that is under way, or else of the last one.
    """

    def __init__(
        self, transformer: nn.Module, backbone: Backbone, plan: Plan, pipeline: Any = None
    ) -> None:
        self.plan, self.backbone = plan, backbone
        self.clock = RunClock()
        self.guidance: bool | None = None
        self.statistics = RunStatistics()
        self._transformer = weakref.ref(transformer)
        self._pipeline = None if pipeline is None else weakref.ref(pipeline)
        self._observer = SchedulerObserver(self._run_announced, self._step_ended)
        self._blocks: list[BlockHook] = []
        self._attentions: list[AttentionHook] = []
        self._feed_forwards: list[FeedForwardHook] = []
        self._layers: dict[tuple[int, Grid], tuple[Operators, ...]] = {}
        self._layers_of: int | None = None
        self._run = -1
        self._shape: tuple[Any, ...] = ()
        self._caches: dict[int, CacheRun] = {}
        self._merges: dict[tuple[int, int, bool], Any] = {}
        self._attach(transformer)

    def _attach(self, transformer: nn.Module) -> None:
        plan = self.plan
        merge = merge_of(plan)
        at = () if merge is None else merge.at
        try:
            attach(transformer, TransformerHook(self.begin_forward))
            for block in self.backbone.blocks(transformer):
                if plan.cache is not None or plan.density is not None:
                    self._blocks.append(BlockHook(self.backbone.row_arguments))
                    attach(block, self._blocks[-1])
                if plan.attention is not None or "attention" in at:
                    self._attentions.append(AttentionHook())
                    attach(self.backbone.self_attention(block), self._attentions[-1])
                if "feed_forward" in at:
                    self._feed_forwards.append(FeedForwardHook())
                    attach(self.backbone.feed_forward(block), self._feed_forwards[-1])
            self.num_layers = len(self.backbone.blocks(transformer))
            self._place_spans()
        except BaseException:
            self.remove()
            raise

    def _place_spans(self) -> None:
        """Tell each block where it lies in the spans of the cache; this never changes."""
        cache = cache_of(self.plan)
        if cache is None:
            return
        first = 1 if cache.per_sample else 0
        self._spans = cache.spans(self.num_layers, first)
        for span in self._spans:
            self._blocks[span[0]].opens = True
            self._blocks[span[-1]].closes = True
        if cache.per_sample:
            self._blocks[0].probes = self._blocks[1].decides = True

    @property
    def target(self) -> Any:
        """The pipeline that was accelerated, or else the bare transformer."""
        pipeline = None if self._pipeline is None else self._pipeline()
        return self._transformer() if pipeline is None else pipeline

    def remove(self) -> None:
        """Take off every hook and attribute."""
        self._observer.stop()
        transformer = self._transformer()
        if transformer is not None:
            detach_all(transformer)

    def __deepcopy__(self, memo: dict[int, Any]) -> Installation:
        # The hooks of a copied transformer then find out that it is not this one.
        return self

    def end_run(self) -> None:
        """Forget the run: free what is remembered; its statistics stay."""
        self.statistics.settle(self.nbytes)
        self.clock.forget()
        self._forget()

    @property
    def nbytes(self) -> int:
        """Bytes that the cache remembers now, over all guidance branches."""
        return sum(cache.nbytes for cache in self._caches.values())

    def _run_announced(self, num_steps: int) -> None:
        self.clock.announce(num_steps)

    def _step_ended(self, sample_rows: int | None) -> None:
        self.statistics.settle(self.nbytes)
        if self.guidance is None and not self.backbone.guidance_is_certain:
            for cache in self._caches.values():
                if sample_rows == cache.num_rows:
                    cache.separate_rows()
        if self.clock.end_step():
            self._forget()

    def _forget(self) -> None:
        self._caches, self._merges = {}, {}
        for hook in self._blocks:
            hook.cache = hook.memory = None
        for attention in self._attentions:
            attention.memory = None
        for feed_forward in self._feed_forwards:
            feed_forward.memory = None

    def begin_forward(self, transformer: nn.Module, arguments: Mapping[str, Any]) -> None:
        """Settle what each hook does in the forward that begins."""
        if transformer is not self._transformer():
            raise UnsupportedError(
                "transformer: a copy of an accelerated one shares its hooks; call"
                " dit_accel.restore(copy) and then dit_accel.accelerate(copy, plan)"
            )
        self._follow_scheduler()
        latents: torch.Tensor = arguments["hidden_states"]
        shape = (latents.shape, latents.dtype, latents.device)
        grid = self.backbone.grid(transformer, latents)
        if shape != self._shape and self.clock.num_steps is None:
            self.clock.forget()
        position = self.clock.tick(lambda: _first_value(arguments["timestep"]))
        if position.run != self._run or shape != self._shape:
            self._begin_run(position, shape)
        self.statistics.settle(self.nbytes)  # the call before has ended; the cache still knows it
        layers = self._operators(position, grid)
        cache = self._begin_cache(transformer, position, layers, arguments)
        self._arm(position, grid, layers, cache)
        text = arguments.get("encoder_hidden_states")
        text_tokens = 0 if text is None else text.shape[1]
        first_cached = 0 if cache is None else min(cache.memories)
        call = Call(position, latents.shape[0], grid, text_tokens, cache, first_cached)
        self.statistics.calls.append(call)

    def _follow_scheduler(self) -> None:
        """Observe the pipeline's scheduler; one put in since the last run has set its timesteps."""
        pipeline = None if self._pipeline is None else self._pipeline()
        scheduler = getattr(pipeline, "scheduler", None)
        if scheduler is None or scheduler is self._observer.scheduler:
            return
        self.observe(scheduler)
        if getattr(scheduler, "num_inference_steps", None) is not None:
            self.clock.announce(len(scheduler.timesteps))

    def observe(self, scheduler: Any) -> None:
        """Hear of this scheduler's runs and steps from now on."""
        self._observer.observe(scheduler)

    def _begin_run(self, position: Position, shape: tuple[Any, ...]) -> None:
        """Another run, or another shape in mid-run: nothing is carried over."""
        self._forget()
        if position.run != self._run:
            self.statistics = RunStatistics()
        self._run, self._shape = position.run, shape

    def _operators(self, position: Position, grid: Grid) -> tuple[Operators, ...]:
        if position.num_steps is None:  # the fraction is no function of the step then
            return resolve_layers(self.plan, self.num_layers, position, grid)
        if position.num_steps != self._layers_of:
            self.plan.check_against(self.num_layers, position.num_steps)
            self._layers, self._layers_of = {}, position.num_steps
        key = (position.step, grid)
        if key not in self._layers:
            self._layers[key] = resolve_layers(self.plan, self.num_layers, position, grid)
        return self._layers[key]

    def _begin_cache(
        self,
        transformer: nn.Module,
        position: Position,
        layers: tuple[Operators, ...],
        arguments: Mapping[str, Any],
    ) -> CacheRun | None:
        config = cache_of(self.plan)
        if config is None:
            return None
        cache = self._caches.get(position.branch)
        if cache is None:
            cache = self._open_cache(config, transformer, position.branch, arguments)
        action = cache_action(self.plan, position, cache.last_computed)
        grid = StepProgram(action, layers).density_grid
        cache.begin_step(position.step, position.fraction, grid)
        if not config.per_sample:
            compute = action == "compute" or not cache.has_history
            device = arguments["hidden_states"].device
            cache.choose([compute] * len(cache.timelines), device)
        return cache

    def _open_cache(
        self,
        config: CacheConfig,
        transformer: nn.Module,
        branch: int,
        arguments: Mapping[str, Any],
    ) -> CacheRun:
        rows = arguments["hidden_states"].shape[0]
        leader = self._caches.get(0)
        if leader is not None:
            rows_per_sample = leader.rows_per_sample
        else:
            rows_per_sample = self._rows_per_sample(config, transformer, arguments)
        if rows % rows_per_sample:
            raise RunError(
                f"guidance: {rows} rows can't be pairs of guidance rows; pass guidance=False to"
                " dit_accel.run, or both rows of every sample in one call"
            )
        cache = CacheRun(config, rows // rows_per_sample, rows_per_sample, leader)
        self._caches[branch] = cache
        memories = [SpanMemory() for _ in self._spans]
        for span, memory in zip(self._spans, memories, strict=True):
            cache.memories.update(dict.fromkeys(span, memory))
        return cache

    def _rows_per_sample(
        self, config: CacheConfig, transformer: nn.Module, arguments: Mapping[str, Any]
    ) -> int:
        if self.guidance is not None:
            return 2 if self.guidance else 1
        if not config.per_sample:  # only decisions sample by sample need to know
            return 1
        latents = arguments["hidden_states"]
        return 2 if self.backbone.is_guided(transformer, latents, arguments) else 1

    def _arm(
        self,
        position: Position,
        grid: Grid,
        layers: tuple[Operators, ...],
        cache: CacheRun | None,
    ) -> None:
        for layer, hook in enumerate(self._blocks):
            hook.cache, hook.density = cache, layers[layer].density
            hook.memory = None if cache is None else cache.memories.get(layer)
        if cache is not None and cache.mode == "none":
            return  # no module inside a block will run
        for layer, attention in enumerate(self._attentions):
            attention.operator = layers[layer].attention
            attention.merge = layers[layer].merge_attention
            attention.memory = self._merge_memory(attention.merge, layer, position, grid)
        for layer, feed_forward in enumerate(self._feed_forwards):
            feed_forward.merge = layers[layer].merge_feed_forward
            feed_forward.memory = self._merge_memory(feed_forward.merge, layer, position, grid)

    def _merge_memory(self, merge: Any, layer: int, position: Position, grid: Grid) -> Any:
        method = merge_of(self.plan)
        if merge is None or method is None:
            return None
        cell = cell_at(layer, self.num_layers, position, grid)
        # The first block of a first-block cache sees all rows, the others only some.
        probe = bool(self._blocks) and self._blocks[layer].probes
        key = (position.branch, method.group(cell), probe)
        if key not in self._merges:
            self._merges[key] = merge.memory()
        merge.prepare(self._merges[key], self.plan.seed, cell)
        return self._merges[key]


def _first_value(timestep: Any) -> float:
    return float(timestep.flatten()[0]) if torch.is_tensor(timestep) else float(timestep)
