"""Histories beside a schedule of grids: on the full grid, and never of two densities at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from combinations import STEPS, Combination
from tiny_models import FAMILIES, TinyFamily, every_family, modes

import dit_accel
from dit_accel.install import installation_of
from dit_accel.integration.cache_runs import CacheRuns

DENSITY = {
    "kind": "sparse",
    "grid": {"schedule": "steps", "values": [[2, 4], [4, 4], [8, 8]], "at": [0.4, 0.8]},
}
"""Of seven steps, three on each of the first two grids."""

TAYLOR = {"kind": "polynomial", "order": 1}


def caches_of_each_step(
    family: TinyFamily, plan: dict[str, Any], steps: int = STEPS
) -> Iterator[CacheRuns]:
    transformer = dit_accel.accelerate(family.transformer(), plan)
    installation = installation_of(transformer)
    assert installation is not None
    with dit_accel.run(transformer, steps, guidance=True):
        for latents in family.steps_of(transformer, steps=steps):
            assert latents.isfinite().all()
            yield installation._caches


@every_family
def test_blocks_remember_the_full_grid_and_begin_anew_with_each(family: TinyFamily) -> None:
    policy = {"kind": "list", "compute": [0, 1, 3, 4, 6]}
    plan = {"density": DENSITY, "cache": {"predictor": TAYLOR, "policy": policy}}
    seen = []
    for caches in caches_of_each_step(family, plan):
        (run,) = caches._runs.values()
        (ring,) = {id(ring): ring for ring in run.memory.rings.values()}.values()
        assert ring.buffer is not None and ring.buffer.shape[2] == 64
        timeline = run.memory.timelines[0]
        seen.append((str(timeline.grid), timeline.steps))
    assert seen[:-1] == [
        *(("2x4", (0,)), ("2x4", (1, 0)), ("2x4", (1, 0))),
        *(("4x4", (3,)), ("4x4", (4, 3)), ("4x4", (4, 3))),
    ]


@every_family
def test_guidance_differences_begin_anew_with_each_grid(family: TinyFamily) -> None:
    policy = {"kind": "list", "compute": [0, 1, 3, 5]}
    cache = {"site": "guidance", "predictor": TAYLOR, "policy": policy}
    seen = []
    for caches in caches_of_each_step(family, {"density": DENSITY, "cache": cache}):
        if caches._guidance is not None:
            timeline = caches._guidance._timeline
            seen.append((str(timeline.grid), timeline.steps))
    assert seen[:5] == [
        *(("2x4", (0,)), ("2x4", (1, 0)), ("2x4", (1, 0))),
        *(("4x4", (3,)), ("4x4", (3,))),
    ]


@every_family
def test_fitted_outputs_are_those_of_a_solver_and_know_no_grid(family: TinyFamily) -> None:
    """They are predictions of the data, on the latents' own pixels whatever the tokens were.

    Their sums are a multistep solver's, which goes on over a change of grid as DPM-Solver++ does
    over a change of anything inside the model; a history that began anew would lack what the
    scalars of its step are for.
    """
    plan = {"density": DENSITY} | Combination("output", "multistep", "calibrated").plan
    kept = []
    for caches in caches_of_each_step(family, plan):
        output = caches._output
        if output is not None:
            buffer = output._seen.buffer
            assert buffer is not None and buffer.shape[2:] == (4, 64)
            kept.append((output._seen_at.grid, output._seen_at.steps))
    assert kept[:4] == [(None, (0,)), (None, (0,)), (None, (2, 0)), (None, (3, 2, 0))]


@every_family
def test_caches_inside_of_blocks_are_refused_beside_density(family: TinyFamily) -> None:
    for site in ("attention", "feed_forward", "tokens"):
        policy = "token_importance" if site == "tokens" else "interval"
        plan = {"density": DENSITY} | Combination(site, "reuse", policy).plan
        try:
            dit_accel.accelerate(family.transformer(), plan)
        except dit_accel.PlanError as error:
            assert "density hands them others" in str(error)
        else:
            raise AssertionError(f"site {site} was accepted")


def test_three_kinds_of_caches_on_top_of_each_other() -> None:
    """Blocks above the segments, guidance and a schedule of grids, with exact rewrites."""
    family = FAMILIES["dit"]
    density = DENSITY | {"layout": {"segments": 1, "group": [1, 1, 1, 0], "dense": 2}}
    deep = {"kind": "deep", "first": 3}
    every_second = {"kind": "interval", "interval": 2}
    caches = [
        {"site": deep, "predictor": TAYLOR, "policy": every_second},
        {"site": "guidance", "predictor": "reuse", "policy": {"kind": "interval", "interval": 3}},
    ]
    found = []
    for exact in (False, True):
        pipe = family.pipeline(num_layers=5, dtype=torch.float64)
        dit_accel.accelerate(pipe, {"density": density, "cache": caches, "exact": exact})
        found.append(family.generate(pipe))
        assert "none" in modes(pipe)
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-8)
