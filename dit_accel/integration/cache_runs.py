"""The caches of a plan at work on one transformer: their run states, and who is in a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dit_accel.backbones import Backbone
from dit_accel.errors import RunError
from dit_accel.integration.begun_call import BegunCall
from dit_accel.integration.module_runs import ModuleRuns, paired
from dit_accel.integration.statistics import SiteCall
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.cache_run import CacheRun
from dit_accel.methods.caching.call_run import CallRun
from dit_accel.methods.caching.guidance_run import GuidanceRun
from dit_accel.methods.caching.output_run import OutputRun
from dit_accel.methods.caching.placement import forecast_layers, parts_of, place
from dit_accel.run_state import Position
from dit_accel.tokens.grid import Grid


class CacheRuns:
    """Run states, one a cache and guidance call, from the first call of a run to its last.

    Args:
        caches: of the plan.
        num_layers: blocks of the model.
        backbone: its family.
        seed: of the plan.
    """

    def __init__(
        self, caches: Sequence[CacheConfig], num_layers: int, backbone: Backbone, seed: int = 0
    ) -> None:
        self.caches, self.spans = caches, place(caches, num_layers)
        self._parts = {
            index: parts_of(cache, spans)
            for index, (cache, spans) in enumerate(zip(caches, self.spans, strict=True))
            if spans
        }
        self._backbone = backbone
        self._modules = ModuleRuns(caches, num_layers, backbone, seed)
        self.forget()

    def forget(self) -> None:
        """Free everything that is remembered."""
        self._runs: dict[tuple[int, int, int], CacheRun] = {}
        self._guidance: GuidanceRun | None = None
        self._output: OutputRun | None = None
        self._guided: bool | None = None
        self._modules.forget()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is remembered."""
        return not self._runs and not self._around_calls and self._modules.is_empty

    @property
    def nbytes(self) -> int:
        """Bytes that are remembered now, over all guidance calls."""
        blocks = sum(run.nbytes for run in self._runs.values())
        calls = sum(run.nbytes for run in self._around_calls)
        return blocks + calls + self._modules.nbytes

    @property
    def _around_calls(self) -> list[CallRun]:
        return [run for run in (self._guidance, self._output) if run is not None]

    def told_samples(self, sample_rows: int | None) -> None:
        """The scheduler stepped so many rows: equal latents were no guidance if those are all."""
        for run in self._runs.values():
            if sample_rows == run.num_rows:
                run.separate_rows()
                self._guided = False
        if self._modules.told_samples(sample_rows):
            self._guided = False
        if any(
            run.rows_per_sample == 2 and run.num_rows == sample_rows for run in self._around_calls
        ):
            self._guidance, self._output, self._guided = None, None, False

    def begin_forward(
        self,
        transformer: nn.Module,
        arguments: Mapping[str, Any],
        position: Position,
        grid: Grid | None,
        guided: bool | None,
    ) -> BegunCall:
        """Decide what is known before the blocks run.

        Args:
            transformer: the transformer.
            arguments: of the call.
            position: where in the run.
            grid: the coarse grid of pooled blocks.
            guided: whether rows b and b + R/2 belong to one sample, `None` to look.
        """
        rows = arguments["hidden_states"].shape[0]
        sites: list[SiteCall] = []
        guidance = None
        wanted = position.branch == 0 and any(cache.site.is_guidance for cache in self.caches)
        if wanted and self._is_guided(transformer, arguments, guided):
            guidance = self._begin_guidance(arguments, position, grid)
        output = self._begin_output(transformer, arguments, position, guided, guidance)
        present = None if guidance is None or guidance.mode == "all" else guidance.rows

        def together(cache: CacheConfig) -> int:
            return self._rows_per_sample(
                cache, transformer, arguments, guided, guidance is not None
            )

        latents = arguments["hidden_states"]
        tokens = self._backbone.grid(transformer, latents)
        modules = self._modules.begin_forward(transformer, latents, position, present, together)
        runs: list[CacheRun] = []
        for index, cache in enumerate(self.caches):
            if cache.site.is_output:
                if output is not None:
                    everything = frozenset(range(output.num_layers))
                    sites.append(SiteCall(index, everything, output))
                continue
            if cache.site.is_guidance:
                if guidance is not None:
                    sites.append(SiteCall(index, frozenset(), guidance))
                continue
            if index in modules:
                sites.append(SiteCall(index, frozenset(), modules[index]))
                continue
            parts = self._opened(index, position.branch, rows, together, tokens)
            for run in parts:
                self._begin(run, position, grid, present, latents)
            runs += parts
            layers = forecast_layers(cache, self.spans[index])
            sites.append(SiteCall(index, layers, tuple(parts)))
        replaced = {} if present is None or guidance is None else guidance.arguments(arguments)
        return BegunCall(runs, modules, guidance, output, replaced, sites)

    def _begin(
        self,
        run: CacheRun,
        position: Position,
        grid: Grid | None,
        present: range | None,
        latents: torch.Tensor,
    ) -> None:
        run.begin_step(position.step, position.fraction, grid, present)
        policy, device = run.config.policy, latents.device
        action = policy.action(
            position.step, run.last_computed, position.fraction, position.num_steps
        )
        if policy.looks_at == "nothing":
            run.follow_plan(action == "compute", device)
            return
        if action == "compute":
            run.force()
        if policy.looks_at == "latents":
            run.judge(latents, device)
        elif policy.looks_at == "history":
            run.judge(run.memory.history, device)
        # The others decide inside the network.

    def _begin_guidance(
        self, arguments: Mapping[str, Any], position: Position, grid: Grid | None
    ) -> GuidanceRun:
        latents = arguments["hidden_states"]
        if self._guidance is None:
            config = next(cache for cache in self.caches if cache.site.is_guidance)
            samples = paired(latents.shape[0], 2)
            first = self._backbone.conditional_first
            self._guidance = GuidanceRun(config, samples, first)
        run = self._guidance
        action = run.config.policy.action(
            position.step, run.last_computed, position.fraction, position.num_steps
        )
        run.begin_step(position.step, action == "compute", latents.device, grid)
        return run

    def _begin_output(
        self,
        transformer: nn.Module,
        arguments: Mapping[str, Any],
        position: Position,
        guided: bool | None,
        guidance: GuidanceRun | None,
    ) -> OutputRun | None:
        config = next((cache for cache in self.caches if cache.site.is_output), None)
        if config is None:
            return None
        if position.branch:
            raise RunError(
                "site output: a second transformer call in one step, expected both guidance rows in"
                " one, because every output holds guidance already; use a pipeline that does so"
            )
        latents = arguments["hidden_states"]
        if self._output is None:
            per_sample = 2 if self._is_guided(transformer, arguments, guided) else 1
            self._output = OutputRun(
                config,
                paired(len(latents), per_sample),
                per_sample == 2,
                self._backbone.conditional_first,
                latents.shape[1],
                len(self._backbone.blocks(transformer)),
            )
        run = self._output
        action = config.policy.action(
            position.step, run.last_computed, position.fraction, position.num_steps
        )
        # Without guidance both rows of a sample would be equal, and nothing is left out.
        all_rows = guidance is None or guidance.mode == "all"
        run.begin_step(position.step, action == "compute", all_rows, latents)
        return run

    def _opened(
        self,
        index: int,
        branch: int,
        rows: int,
        together: Callable[[CacheConfig], int],
        tokens: Grid,
    ) -> list[CacheRun]:
        """The run states of one cache, one for each of its parts."""
        found = []
        for part, (cache, spans) in enumerate(self._parts[index]):
            run = self._runs.get((index, part, branch))
            if run is None:
                leader = self._runs.get((index, part, 0))
                per_sample = together(cache) if leader is None else leader.rows_per_sample
                samples = paired(rows, per_sample)
                run = CacheRun(cache, samples, per_sample, leader, spans, tokens)
                self._runs[index, part, branch] = run
            found.append(run)
        return found

    def _rows_per_sample(
        self,
        cache: CacheConfig,
        transformer: nn.Module,
        arguments: Mapping[str, Any],
        guided: bool | None,
        rows_leave: bool,
    ) -> int:
        if guided is not None:
            return 2 if guided else 1
        # Only what is done sample by sample needs to know, and who leaves out rows of samples.
        by_sample = (
            cache.per_sample
            or cache.policy.chooses_tokens
            or cache.predictor.by_sample
            or cache.guard_factor is not None
        )
        if not (by_sample or rows_leave):
            return 1
        return 2 if self._is_guided(transformer, arguments, guided) else 1

    def _is_guided(
        self, transformer: nn.Module, arguments: Mapping[str, Any], guided: bool | None
    ) -> bool:
        """Reads the device once a run, unless it was said."""
        if guided is not None:
            return guided
        if self._guided is None:
            latents = arguments["hidden_states"]
            self._guided = self._backbone.is_guided(transformer, latents, arguments)
        return self._guided
