"""Putting a plan to work on a pipeline or a transformer, and taking it off again."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import nn

from dit_accel.adapters import load_adapter
from dit_accel.adapters.adapter import Adapter
from dit_accel.adapters.weights_in_place import lifted, take_off
from dit_accel.backbones import find_backbone
from dit_accel.errors import UnsupportedError
from dit_accel.exact.channels_last import decoder_of, restore_memory_format
from dit_accel.integration.attach import detach_all
from dit_accel.integration.installation import Installation
from dit_accel.methods.caching.placement import place
from dit_accel.plan import Plan, PlanLike

Target = TypeVar("Target")

_installations: weakref.WeakKeyDictionary[nn.Module, Installation] = weakref.WeakKeyDictionary()


def accelerate(target: Target, plan: PlanLike, *, adapter: Adapter | None = None) -> Target:
    """Put `plan` to work on `target`, in place.

    Args:
        target: a diffusers pipeline with a `transformer`, or such a transformer.
        plan: a preset's name, the path of a YAML file or of a calibrated plan's folder, a mapping,
            or a `Plan`. A plan that is in place already is replaced. The empty plan installs
            nothing at all.
        adapter: in memory, in place of the one that the plan names. Its weights are in force in
            the steps that the plan changes; where all layers run as they are, so do their weights.

    Returns:
        `target` itself.

    Raises:
        PlanError: the plan is wrong, or does not fit this model (layers that it has not), or was
            calibrated for another one, or its adapter was trained for another one.
        UnsupportedError: the transformer's class is not supported.
    """
    return _accelerate(target, Plan.load(plan), adapter=adapter)


def _accelerate(
    target: Target,
    plan: Plan,
    learned: nn.ModuleDict | None = None,
    adapter: Adapter | None = None,
) -> Target:
    """The same; with the learned parts and the adapter of a plan that was in place before."""
    transformer = transformer_of(target)
    backbone = find_backbone(transformer)
    num_layers = len(backbone.blocks(transformer))
    plan.check_against(num_layers)
    place(plan.cache, num_layers)
    if adapter is None and plan.adapter is not None:
        adapter = load_adapter(plan.adapter)
    _check_belonging(transformer, plan, adapter)
    restore(target)
    if plan.is_empty:
        return target
    pipeline = None if isinstance(target, nn.Module) else target
    installation = Installation(transformer, backbone, plan, pipeline, learned, adapter)
    _installations[transformer] = installation
    if adapter is not None and learned is None:
        _fill(target, adapter)
    scheduler = getattr(pipeline, "scheduler", None)
    if scheduler is not None:
        installation.observe(scheduler)
    return target


def _fill(target: Any, adapter: Adapter) -> None:
    """Give the plan's learned parts their weights; a model is left stock if they don't fit."""
    from dit_accel.learned_parts import learned_parts  # which asks this module what is in place

    try:
        adapter.fill(learned_parts(target))
    except BaseException:
        restore(target)
        raise


def _check_belonging(transformer: nn.Module, plan: Plan, adapter: Adapter | None) -> None:
    """Refuse a plan or an adapter that was fitted to another transformer."""
    with lifted(transformer):  # they were fitted to the weights without any adapter
        if plan.calibration is not None:
            plan.calibration.check_model(transformer)
        if adapter is not None:
            adapter.check(transformer, plan)


def restore(target: Target) -> Target:
    """Take the plan off `target`: its own weights, and no hook, processor or attribute is left.

    Returns:
        `target`.
    """
    transformer = transformer_of(target)
    installation = _installations.pop(transformer, None)
    if installation is not None:
        installation.remove()
    else:
        # A deep copy brings hooks and an adapter's weights along that it was not given.
        detach_all(transformer)
        take_off(transformer)
        decoder = decoder_of(target)
        if decoder is not None:
            restore_memory_format(decoder)
    return target


@contextmanager
def accelerated(target: Target, plan: PlanLike) -> Iterator[Target]:
    """`accelerate` for the length of a `with` block; the plan that was in place comes back."""
    former = installation_of(target)
    former_target = target if former is None else former.target
    try:
        yield accelerate(target, plan)
    finally:
        if former is None:
            restore(former_target)
        else:
            _accelerate(former_target, former.plan, former.learned, former.adapter)


@contextmanager
def run(
    target: Any,
    timesteps: Sized | int,
    *,
    calls_per_step: int = 1,
    guidance: bool | None = None,
) -> Iterator[None]:
    """Announce one denoising run to a bare transformer; a pipeline does this by itself.

    Args:
        target: the accelerated transformer (or pipeline).
        timesteps: the run's timesteps, or how many there are.
        calls_per_step: transformer calls a step, 2 for separate guidance calls.
        guidance: whether rows b and b + R/2 are the guidance rows of one sample; `None` looks
            whether their latents are equal.

    Raises:
        RunError: inside, on a call beyond the run's length.
    """
    installation = _installations.get(transformer_of(target))
    if installation is None:
        yield
        return
    num_steps = timesteps if isinstance(timesteps, int) else len(timesteps)
    former = installation.guidance
    installation.clock.announce(num_steps, calls_per_step)
    installation.expect(timesteps)
    installation.guidance = guidance
    try:
        yield
    finally:
        installation.guidance = former
        installation.expect(())
        installation.end_run()


@contextmanager
def at_step(target: Any, step: int, num_steps: int) -> Iterator[None]:
    """Let one call of the transformer be step `step` of a run of `num_steps`, as training needs it.

    What the plan remembers from step to step is empty there. Keep the backward pass inside:
    gradient checkpointing computes the forward again in it.

    Args:
        target: the accelerated transformer (or pipeline).
        step: index from 0.
        num_steps: of the run.

    Raises:
        RunError: the run has no such step, or a call is beyond its end.
    """
    installation = installation_of(target)
    if installation is None:
        yield
        return
    installation.clock.announce(num_steps, calls_per_step=1, first=step)
    try:
        yield
    finally:
        installation.end_run()


def plan_of(target: Any) -> Plan:
    """The plan at work on `target`; empty where there is none."""
    installation = installation_of(target)
    return Plan() if installation is None else installation.plan


def installation_of(target: Any) -> Installation | None:
    """The installation on `target`, if any."""
    return _installations.get(transformer_of(target))


def transformer_of(target: Any) -> nn.Module:
    """The transformer of a pipeline, or `target` if it is one; compiled ones are unwrapped.

    Raises:
        UnsupportedError: `target` is neither.
    """
    transformer = target if isinstance(target, nn.Module) else getattr(target, "transformer", None)
    transformer = getattr(transformer, "_orig_mod", transformer)
    if not isinstance(transformer, nn.Module):
        raise UnsupportedError(
            f"target: {type(target).__name__} has no transformer; expected a diffusers pipeline"
            " with one (DiTPipeline, PixArtAlphaPipeline, PixArtSigmaPipeline) or the transformer"
        )
    return transformer
