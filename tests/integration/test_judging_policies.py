"""Policies that look at the data: samples for themselves, clean states, true figures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from judging import JUDGING, NEVER, policy_of
from tiny_models import TinyFamily, calls_of, decisions, modes
from torch import Tensor

import dit_accel
from dit_accel.install import installation_of

STEPS = 10
DECIDING = ["easy", "input_change", "curvature", "verify"]

every_policy = pytest.mark.parametrize("name", DECIDING)


def pipeline(family: TinyFamily, plan: Any, dtype: torch.dtype = torch.float64) -> Any:
    return dit_accel.accelerate(family.pipeline(dtype=dtype), plan)


def assert_close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-7)


@every_policy
def test_a_threshold_of_nothing_is_dense_bit_for_bit(layout: TinyFamily, name: str) -> None:
    pipe = layout.pipeline()
    stock = layout.generate(pipe)
    dit_accel.accelerate(pipe, {"cache": {"policy": NEVER[name]}})
    assert torch.equal(layout.generate(pipe), stock)
    assert set(modes(pipe)) == {"all"}


@every_policy
def test_a_batch_equals_its_samples_alone(layout: TinyFamily, name: str) -> None:
    pipe = pipeline(layout, JUDGING[name])
    batch = layout.generate(pipe, steps=STEPS)
    together = decisions(pipe)
    assert {True, False} == {needed for step in together for needed in step}
    alone = []
    for place, sample in enumerate((1, 2, 3)):
        assert_close(layout.generate(pipe, (sample,), steps=STEPS), batch[place : place + 1])
        alone.append([needed for (needed,) in decisions(pipe)])
    assert together == list(zip(*alone, strict=True))


@every_policy
def test_rows_may_be_left_out_by_another_cache(layout: TinyFamily, name: str) -> None:
    """Site guidance beside it: its unconditional rows are absent in two steps of three."""
    guidance = {"site": "guidance", "policy": {"kind": "interval", "interval": 3}}
    plan = {"cache": [JUDGING[name]["cache"], guidance]}
    pipe = pipeline(layout, plan)
    batch = layout.generate(pipe, steps=STEPS)
    assert batch.isfinite().all()
    needed = {need for step in decisions(pipe) for need in step}
    assert needed == {True, False}
    alone = [layout.generate(pipe, (sample,), steps=STEPS) for sample in (1, 2, 3)]
    assert_close(batch, torch.cat(alone))


def walk(
    transformer: Any, layout: TinyFamily, mate: float, jump: int | None = None
) -> tuple[list[Tensor], list[bool]]:
    """Outputs and decisions of a sample beside one whose latents are so many times as large."""
    generator = torch.Generator().manual_seed(3)
    condition, found = layout.guided_condition((1, 2), torch.float64), []
    latents = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64)
    with torch.no_grad(), dit_accel.run(transformer, STEPS, guidance=True):
        for index, timestep in enumerate(range(1000, 0, -100)):
            moved = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64)
            latents = latents + 0.1 * moved
            scale = torch.tensor([1.0, mate if index != jump else 7.0], dtype=torch.float64)
            rows = latents * scale[:, None, None, None]
            out = layout.predict(transformer, torch.cat([rows, rows]), timestep, condition)
            found.append(out[[0, 2]])
    return found, [needed[0] for needed in decisions(transformer)]


@every_policy
@pytest.mark.parametrize(("mate", "jump"), [(1e3, None), (1e30, None), (torch.nan, None), (1.0, 5)])
def test_an_adversarial_batch_mate_changes_nothing(
    layout: TinyFamily, name: str, mate: float, jump: int | None
) -> None:
    transformer = layout.transformer(dtype=torch.float64)
    dit_accel.accelerate(transformer, JUDGING[name])
    quiet, expected = walk(transformer, layout, 1.0)
    loud, needed = walk(transformer, layout, mate, jump)
    assert needed == expected and not all(needed)
    for got, other in zip(loud, quiet, strict=True):
        assert_close(got, other)


BEFORE: list[dict[str, Any]] = [
    {"samples": (7, 8, 9)},
    {"samples": (4, 5)},
    {"steps": 9},
    {"guidance": 1.0, "samples": (1, 2, 3, 4, 5, 6)},
]


@every_policy
def test_a_run_after_others_equals_a_fresh_one(layout: TinyFamily, name: str) -> None:
    fresh = layout.generate(pipeline(layout, JUDGING[name]))
    pipe = pipeline(layout, JUDGING[name])
    for before in BEFORE:
        layout.generate(pipe, **before)
        assert torch.equal(layout.generate(pipe), fresh)
    for call in (2, 4):
        handle = raise_in_last_block(pipe.transformer, call)
        with pytest.raises(KeyboardInterrupt):
            layout.generate(pipe)
        handle.remove()
        assert torch.equal(layout.generate(pipe), fresh)


def raise_in_last_block(transformer: Any, call: int) -> Any:
    """Interrupt a forward at the last block's feed-forward; returns the remover."""
    calls = iter(range(1, 100))

    def raising(*_: Any) -> None:
        if next(calls) == call:
            raise KeyboardInterrupt

    return transformer.transformer_blocks[-1].ff.register_forward_pre_hook(raising)


@every_policy
def test_a_run_of_fewer_steps_than_declared_leaves_nothing(layout: TinyFamily, name: str) -> None:
    def loop(transformer: Any, samples: tuple[int, ...], stop: int) -> Tensor:
        with dit_accel.run(transformer, timesteps=STEPS):
            steps = layout.steps_of(transformer, samples, STEPS)
            return [next(steps) for _ in range(stop)][-1]

    transformer = dit_accel.accelerate(layout.transformer(), JUDGING[name])
    loop(transformer, (7, 8, 9), 5)
    installation = installation_of(transformer)
    assert installation is not None and installation.nbytes == 0
    again = loop(transformer, (1, 2, 3), STEPS)
    fresh = dit_accel.accelerate(layout.transformer(), JUDGING[name])
    assert torch.equal(again, loop(fresh, (1, 2, 3), STEPS))
    root = installation._hooks.root()
    assert root is not None and root.watcher is root.guidance is None
    assert all(hook.look is hook.cache is hook.ring is None for hook in installation._hooks.blocks)


@every_policy
def test_exact_rewrites_change_no_decision(layout: TinyFamily, name: str) -> None:
    plain = pipeline(layout, JUDGING[name])
    expected = layout.generate(plain, steps=STEPS)
    exact = pipeline(layout, {**JUDGING[name], "exact": True})
    assert_close(layout.generate(exact, steps=STEPS), expected)
    assert decisions(exact) == decisions(plain)


@every_policy
def test_two_calls_decide_once(layout: TinyFamily, name: str) -> None:
    transformer = layout.transformer(dtype=torch.float64)
    dit_accel.accelerate(transformer, JUDGING[name])
    with dit_accel.run(transformer, STEPS, calls_per_step=2):
        layout.denoise(transformer, steps=STEPS, guidance="separate")
    decided = decisions(transformer)
    assert decided[::2] == decided[1::2]
    assert any(not all(step) for step in decided)


@every_policy
def test_deterministic_computes_all_rows_and_selects(layout: TinyFamily, name: str) -> None:
    pipes = [
        pipeline(layout, {"cache": {**JUDGING[name]["cache"], "deterministic": whole}})
        for whole in (False, True)
    ]
    assert_close(*(layout.generate(pipe, steps=STEPS) for pipe in pipes))
    for call in calls_of(pipes[1]):
        assert call.sites[0].computed_rows in (0, 6)


@pytest.mark.parametrize("site", ["block", {"kind": "deep", "first": 1, "last": -2}])
@pytest.mark.parametrize("name", ["easy", "input_change", "curvature"])
def test_other_sites(layout: TinyFamily, name: str, site: Any) -> None:
    pipe = pipeline(layout, {"cache": {**JUDGING[name]["cache"], "site": site}})
    batch = layout.generate(pipe, steps=STEPS)
    assert "none" in modes(pipe) or "some" in modes(pipe)
    alone = [layout.generate(pipe, (sample,), steps=STEPS) for sample in (1, 2, 3)]
    assert_close(batch, torch.cat(alone))


@every_policy
def test_no_policy_decides_where_rows_leave_together(name: str) -> None:
    cache = {"site": "guidance", "policy": policy_of(name)}
    with pytest.raises(dit_accel.PlanError, match=f"cache.policy: {name} .* site"):
        dit_accel.Plan.load({"cache": cache})


@every_policy
def test_summary_counts_samples(layout: TinyFamily, name: str) -> None:
    pipe = pipeline(layout, JUDGING[name], torch.float32)
    layout.generate(pipe, steps=STEPS)
    found = dit_accel.summary(pipe)
    needed = decisions(pipe)
    assert found.caches[0].sample_steps == tuple(map(sum, zip(*needed, strict=True)))
    assert found.macs is not None and found.macs_dense is not None
    assert found.macs < found.macs_dense
    assert found.cache_bytes > 0
