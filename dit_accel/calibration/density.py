"""Closed-form calibration of density segments, before or instead of any training.

A delta segment ``X + U((Z - Z0) (I + A1) + b) + (X - U P X) A2`` (FlexDiT / SparseDiT, arXiv
2412.06028, in the form of `dit_accel.nn.delta_segment`) is linear in what it learns. From a few
dense trajectories, segment by segment from the first to the last, the change that the dense blocks
make is regressed on ``[U(Z - Z0), X - U P X, 1]``, drawn towards ``A1 = A2 = 0, b = 0``; without
the second of these where the plan has no ``A2``. ``X`` is what the segment is really given, errors
of the segments before it included, and the target is the dense model's own stream: so later
segments mend what earlier ones left. Every grid of the schedule takes part, as one set of weights
serves all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from dit_accel.backbones import find_backbone
from dit_accel.errors import DitAccelError, UnsupportedError
from dit_accel.install import installation_of, run, transformer_of
from dit_accel.integration.calls import argument_names, named_arguments
from dit_accel.integration.segment_state import SegmentState
from dit_accel.learned_parts import fixed_density
from dit_accel.methods.sparse_density import SparseDensity
from dit_accel.nn.delta_segment import DeltaSegment
from dit_accel.nn.ridge import Ridge
from dit_accel.tokens.pool import unpool

Call = Mapping[str, Any]
"""Arguments of one forward of the transformer, by name."""


class Trajectory(Protocol):
    """The calls of one run, in order; gone through once a segment."""

    def __len__(self) -> int:
        """How many they are."""

    def __iter__(self) -> Iterator[Call]:
        """One after the other."""


class SegmentFit(NamedTuple):
    """Error of a segment's change relative to the dense blocks', over all tokens and steps."""

    before: float
    after: float


@contextmanager
def recorded_calls(target: Any) -> Iterator[list[Call]]:
    """Collect the arguments of the transformer's forwards, for `calibrate_density`.

    Args:
        target: a pipeline or transformer that is called by keyword inside of the block, one call a
            step (batched guidance, or none).
    """
    transformer, calls = transformer_of(target), list[Call]()
    names = argument_names(transformer)

    def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(named_arguments(names, args, kwargs))

    handle = transformer.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


@torch.no_grad()
def calibrate_density(
    target: Any, trajectories: Sequence[Trajectory], ridge: float = 1e-2
) -> list[SegmentFit]:
    """Fit the learned parts of the density segments of `target`, in place.

    Args:
        target: an accelerated pipeline or transformer whose plan has density `sparse`, form
            `delta`, no cache and no adapter.
        trajectories: the forwards of each dense run, in order (`recorded_calls`).
        ridge: how strongly the fit is drawn to the uncalibrated form, relative to each channel.

    Returns:
        One a segment, in order.

    Raises:
        UnsupportedError: the plan is another one, or no step of the runs is sparse.
        DitAccelError: a run holds what is no number.
    """
    config = _checked(target)
    transformer = transformer_of(target)
    blocks = find_backbone(transformer).blocks(transformer)
    layout = config.layout_for(len(blocks))
    installation = installation_of(target)
    assert installation is not None
    fits = []
    for index, state in enumerate(installation.segments):
        last = blocks[layout.spans[index][sum(layout.group[:2]) - 1]]
        fits.append(_fit(transformer, last, state, trajectories, ridge))
    return fits


def _checked(target: Any) -> SparseDensity:
    installation = installation_of(target)
    plan = None if installation is None else installation.plan
    density = None if plan is None else plan.density
    if plan is None or not isinstance(density, SparseDensity) or density.form != "delta":
        raise UnsupportedError(
            "density: expected a plan with density {kind: sparse, form: delta} in place; call"
            " dit_accel.accelerate(target, plan) first"
        )
    if plan.adapter is not None:
        raise UnsupportedError(
            "adapter: it brings trained parts along, which a calibration would overwrite, and may"
            " change the dense model that they are fitted to; calibrate the plan without its"
            " adapter, before anything is trained"
        )
    if plan.cache:
        raise UnsupportedError(
            "cache: a forecast step shows nothing of the segments; calibrate the plan without its"
            " cache, and add that afterwards"
        )
    return density


def _fit(
    transformer: Any,
    last: nn.Module,
    state: SegmentState,
    trajectories: Sequence[Trajectory],
    ridge: float,
) -> SegmentFit:
    part = state.parts
    assert isinstance(part, DeltaSegment)
    channels = part.change.out_features
    num_features = (1 if part.detail is None else 2) * channels + 1
    equations = Ridge(num_features, channels)
    state.keeps = True
    try:
        seen = [
            _take_in(equations, transformer, last, state, number, each)
            for number, each in enumerate(trajectories)
        ]
    finally:
        state.keeps = False
        state.forget()
    if not sum(seen):
        raise UnsupportedError(
            "trajectories: no step of theirs is sparse, so there is nothing to fit; expected some"
            " on a coarser grid than the model's, see density.grid and density.steps"
        )
    prior = torch.eye(num_features, channels, dtype=torch.float64)
    weights = equations.fit(prior, ridge)
    learned = weights - prior
    part.change.weight.copy_(learned[:channels].T)
    part.change.bias.copy_(learned[-1])
    if part.detail is not None:
        part.detail.weight.copy_(learned[channels:-1].T)
    return SegmentFit(equations.error(prior), equations.error(weights))


def _take_in(
    equations: Ridge,
    transformer: Any,
    last: nn.Module,
    state: SegmentState,
    number: int,
    trajectory: Trajectory,
) -> int:
    """Add what the dense run of a number says; returns how many of its calls are sparse."""
    seen = 0
    with run(transformer, len(trajectory), calls_per_step=2):
        for step, call in enumerate(trajectory):
            dense = _dense_stream(transformer, last, call)
            state.forget()
            transformer(**call)
            if state.entered is not None:
                try:
                    equations.update(*_equations(state, dense))
                except ValueError as error:
                    raise DitAccelError(
                        f"trajectories: in number {number}, step {step}: {error}; float16 overflows"
                        " in large models, use bfloat16 or float32"
                    ) from error
                seen += 1
    return seen


def _dense_stream(transformer: Any, last: nn.Module, call: Call) -> torch.Tensor:
    """The dense model's tokens after the block `last`, ``[R, N, C]``."""
    found: list[torch.Tensor] = []
    handle = last.register_forward_hook(lambda _, args, output: found.append(output))
    try:
        with fixed_density(transformer, None):
            transformer(**call)
    finally:
        handle.remove()
    return found[0]


def _equations(state: SegmentState, dense: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Features ``[R N, C + 1]``, with ``A2`` ``[R N, 2C + 1]``, and targets ``[R N, C]``."""
    part, entered, left, cells = state.parts, state.entered, state.left, state.cells
    assert isinstance(part, DeltaSegment) and cells is not None
    assert entered is not None and left is not None
    features = [unpool(left - entered.sparse, cells.full, cells.grid, cells)]
    if part.detail is not None:
        features.append(entered.dense - unpool(entered.pooled, cells.full, cells.grid, cells))
    features.append(torch.ones_like(entered.dense[..., :1]))
    return torch.cat(features, dim=-1).flatten(0, 1), (dense - entered.dense).flatten(0, 1)
