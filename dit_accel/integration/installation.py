"""A plan at work on one transformer: its hooks, its clock, and what its methods remember."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sized
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from dit_accel.adapters.adapter import Adapter
from dit_accel.adapters.noise_levels import TrainedLevels
from dit_accel.adapters.weights_in_place import put_on, take_off, wear
from dit_accel.backbones import Backbone
from dit_accel.errors import UnsupportedError
from dit_accel.exact.rewrites import ExactRewrites, RunFacts
from dit_accel.integration.attach import detach_all
from dit_accel.integration.begun_call import BegunCall
from dit_accel.integration.cache_runs import CacheRuns
from dit_accel.integration.observe import SchedulerObserver
from dit_accel.integration.plan_hooks import PlanHooks
from dit_accel.integration.segment_state import SegmentState
from dit_accel.integration.statistics import Call, RunStatistics
from dit_accel.methods.cell import NOTHING, Operators
from dit_accel.plan import Plan
from dit_accel.program import density_grid, resolve_layers, steps_with_blocks
from dit_accel.run_state import MOST_BRANCHES, Position, RunClock
from dit_accel.tokens.grid import Grid


class Installation:
    """Hooks of `plan` on `transformer`; `remove` takes every trace away.

    Attributes:
        guidance: whether rows b and b + R/2 belong to one sample; `None` finds out by itself.
        statistics: counters of the run that is under way, or else of the last one.
        learned: what the plan's methods learn; empty where they learn nothing.
        fixed: the plan with another density, as long as that is in force.
        adapter: of the plan, as it was loaded.
    """

    def __init__(
        self,
        transformer: nn.Module,
        backbone: Backbone,
        plan: Plan,
        pipeline: Any = None,
        learned: nn.ModuleDict | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        self.plan, self.backbone = plan, backbone
        self.clock = RunClock()
        self.guidance: bool | None = None
        self.statistics = RunStatistics()
        self._transformer = weakref.ref(transformer)
        self._pipeline = None if pipeline is None else weakref.ref(pipeline)
        self._observer = SchedulerObserver(self._run_announced, self._step_ended)
        self._layers: dict[tuple[int, Grid], tuple[Operators, ...]] = {}
        self._layers_of: int | None = None
        self._run = -1
        self._shape: tuple[Any, ...] = ()
        self.num_layers = len(backbone.blocks(transformer))
        self._caches = CacheRuns(plan.cache, self.num_layers, backbone, plan.seed)
        self.exact: ExactRewrites | None = None
        self._computed_steps: tuple[bool, ...] = ()
        self.learned = nn.ModuleDict()
        self.fixed: Plan | None = None
        self.adapter = adapter
        self._levels = None if adapter is None else TrainedLevels(adapter.record, plan.density)
        self._attach(transformer, learned)

    def _attach(self, transformer: nn.Module, learned: nn.ModuleDict | None) -> None:
        plan, backbone = self.plan, self.backbone
        try:
            if self.adapter is not None:  # before the rewrites, which read the weights
                put_on(transformer, self.adapter)
            spans = self._caches.spans
            self._hooks = PlanHooks(transformer, backbone, plan, spans, self.begin_forward, learned)
            if self._hooks.density is not None:
                self.learned = self._hooks.density.learned
            if plan.exact:
                self.exact = ExactRewrites(plan.exact, transformer, backbone, self.target)
            self._hooks.attach_to_modules(transformer)
        except BaseException:
            self.remove()
            raise

    @property
    def target(self) -> Any:
        """The pipeline that was accelerated, or else the bare transformer."""
        pipeline = None if self._pipeline is None else self._pipeline()
        return self._transformer() if pipeline is None else pipeline

    def remove(self) -> None:
        """Take off every hook and attribute, and give the weights back."""
        self._observer.stop()
        transformer = self._transformer()
        if transformer is not None:
            detach_all(transformer)
        if self.exact is not None:
            self.exact.remove()
        if transformer is not None:
            take_off(transformer)

    def __deepcopy__(self, memo: dict[int, Any]) -> Installation:
        # The hooks of a copied transformer then find out that it is not this one.
        return self

    def end_run(self) -> None:
        """Forget the run: free what is remembered; its statistics stay."""
        self.statistics.settle(self.nbytes)
        self.clock.forget()
        self._forget()

    def expect(self, timesteps: Sized | int) -> None:
        """Which timesteps the run announced has, if it was told; an empty one: none any more."""
        if self.exact is None or isinstance(timesteps, int):
            return
        known = timesteps.tolist() if hasattr(timesteps, "tolist") else timesteps
        self.exact.announce(list(known) if isinstance(known, Iterable) else [])

    @property
    def nbytes(self) -> int:
        """Bytes that the cache remembers now, over all guidance branches."""
        return self._caches.nbytes

    @property
    def segments(self) -> list[SegmentState]:
        """What the density segments hold of the last forward; none where no plan has any."""
        return [] if self._hooks.density is None else self._hooks.density.states

    def _run_announced(self, num_steps: int) -> None:
        self.clock.announce(num_steps)

    def _step_ended(self, sample_rows: int | None) -> None:
        self.statistics.settle(self.nbytes)
        if self.guidance is None and not self.backbone.guidance_is_certain:
            self._caches.told_samples(sample_rows)
        if self.clock.end_step():
            self._forget()

    def _forget(self) -> None:
        if self.exact is not None:
            self.exact.forget()
        self._caches.forget()
        self._hooks.forget()

    def begin_forward(self, transformer: nn.Module, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Settle what each hook does in the forward that begins.

        Returns:
            Arguments of the transformer that are to be replaced.
        """
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
            self._check_calibration(transformer, arguments)
            if self._levels is not None:
                self._levels.check(self._observer.scheduler, position.num_steps, grid)
            self._begin_run(position, shape)
        self.statistics.settle(self.nbytes)  # the call before has ended; the cache still knows it
        layers = self._operators(position, grid)
        if self.adapter is not None:  # a dense step is the base model's
            wear(transformer, adapted=any(layer != NOTHING for layer in layers))
        call = self._caches.begin_forward(
            transformer, arguments, position, density_grid(layers), self.guidance
        )
        self._hooks.arm(position, grid, layers, call)
        if self._hooks.density is not None:
            self._hooks.density.arm(transformer, latents, layers)
        text = arguments.get("encoder_hidden_states")
        text_tokens = 0 if text is None else text.shape[1]
        self.statistics.calls.append(
            Call(position, latents.shape[0], grid, text_tokens, call.sites)
        )
        arguments = {**arguments, **call.replaced}
        return {**call.replaced, **self._rewrite(transformer, arguments, position, layers, call)}

    def _rewrite(
        self,
        transformer: nn.Module,
        arguments: Mapping[str, Any],
        position: Position,
        layers: tuple[Operators, ...],
        call: BegunCall,
    ) -> dict[str, Any]:
        """What the exact rewrites replace; they see the rows that are there."""
        if self.exact is None:
            return {}
        alone = bool(call.replaced)
        facts = RunFacts(
            guided=False if alone else self.guidance,
            scheduler=self._observer.scheduler,
            computes=self._computes(position.num_steps),
            blocks_run=len(call.skipped_layers) < self.num_layers,
        )
        # Conditional rows by themselves have memories of their own: those of all rows stay.
        branch = position.branch + (MOST_BRANCHES if alone else 0)
        return self.exact.begin_forward(
            transformer, arguments, replace(position, branch=branch), layers, facts
        )

    def _computes(self, num_steps: int | None) -> tuple[bool, ...]:
        if num_steps is not None and num_steps != len(self._computed_steps):
            self._computed_steps = steps_with_blocks(self.plan, self.num_layers, num_steps)
        return () if num_steps is None else self._computed_steps

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

    def _check_calibration(self, transformer: nn.Module, arguments: Mapping[str, Any]) -> None:
        """Refuse a run that the plan was not fitted to; its length is checked with the plan."""
        calibration = self.plan.calibration
        if calibration is None or not calibration.check:
            return
        latents, guided = arguments["hidden_states"], self.guidance
        if guided is None and latents.device.type != "meta":
            guided = self.backbone.is_guided(transformer, latents, arguments)
        calibration.check_run(self._observer.scheduler, guided=guided)

    def _operators(self, position: Position, grid: Grid) -> tuple[Operators, ...]:
        if self.fixed is not None:
            return resolve_layers(self.fixed, self.num_layers, position, grid)
        if position.num_steps is None:  # the fraction is no function of the step then
            return resolve_layers(self.plan, self.num_layers, position, grid)
        if position.num_steps != self._layers_of:
            self.plan.check_against(self.num_layers, position.num_steps)
            self._layers, self._layers_of = {}, position.num_steps
        key = (position.step, grid)
        if key not in self._layers:
            self._layers[key] = resolve_layers(self.plan, self.num_layers, position, grid)
        return self._layers[key]


def _first_value(timestep: Any) -> float:
    return float(timestep.flatten()[0]) if torch.is_tensor(timestep) else float(timestep)
