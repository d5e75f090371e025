"""Two models at once, interleaved step by step or in two threads, do not hear of each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from plans import PLANS
from tiny_models import TinyFamily, ddim, modes

import dit_accel
from dit_accel.install import installation_of


def test_two_pipelines_interleaved_equal_two_runs_in_turn(
    layout: TinyFamily, telling_plan: dict[str, Any]
) -> None:
    def loop(plan: Any, samples: tuple[int, ...], seed: int) -> Any:
        pipe = dit_accel.accelerate(layout.pipeline(seed=seed), plan)
        yield from layout.steps_of(pipe.transformer, samples, scheduler=pipe.scheduler)

    runs = [(telling_plan, (1, 2), 0), (PLANS["interval_reuse"], (3, 4, 5), 1)]
    in_turn = [list(loop(*arguments)) for arguments in runs]
    both = list(zip(*(loop(*arguments) for arguments in runs), strict=True))
    for index, expected in enumerate(in_turn):
        assert all(
            torch.equal(step[index], want) for step, want in zip(both, expected, strict=True)
        )


def test_two_bare_runs_interleaved_equal_two_runs_in_turn(layout: TinyFamily) -> None:
    plan = PLANS["interval_polynomial"]

    def loop(seed: int) -> Any:
        transformer = dit_accel.accelerate(layout.transformer(seed=seed), plan)
        with dit_accel.run(transformer, timesteps=6, calls_per_step=2):
            yield from layout.steps_of(transformer, guidance="separate")

    in_turn = [list(loop(seed)) for seed in (0, 1)]
    together = list(zip(loop(0), loop(1), strict=True))
    for got, expected in zip(together, zip(*in_turn, strict=True), strict=True):
        assert all(map(torch.equal, got, expected))


def test_two_threads_with_two_pipelines_equal_two_runs_in_turn(
    layout: TinyFamily, telling_plan: dict[str, Any]
) -> None:
    pipes = [
        dit_accel.accelerate(layout.pipeline(seed=seed), plan)
        for seed, plan in enumerate((telling_plan, PLANS["interval_block"]))
    ]
    expected = [layout.generate(pipe) for pipe in pipes]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(2):
            assert all(map(torch.equal, threads.map(layout.generate, pipes), expected))


def test_plans_are_put_on_and_taken_off_in_threads(layout: TinyFamily) -> None:
    transformers = [layout.transformer(seed=seed) for seed in range(2)]

    def on_and_off(transformer: Any) -> bool:
        for name in ("combined", "tome2d", "interval_block") * 5:
            dit_accel.accelerate(transformer, PLANS[name])
        dit_accel.restore(transformer)
        return installation_of(transformer) is None

    with ThreadPoolExecutor(2) as threads:
        assert all(threads.map(on_and_off, transformers))


def test_two_pipelines_that_share_a_scheduler_are_both_told_of_their_steps(
    layout: TinyFamily,
) -> None:
    scheduler = ddim()
    pipes = [layout.pipeline(scheduler, seed=seed) for seed in range(2)]
    for pipe in pipes:
        dit_accel.accelerate(pipe, PLANS["interval_reuse"])
    for pipe in pipes:
        layout.generate(pipe, steps=4)
        assert modes(pipe) == ["all", "none", "all", "all"]
    dit_accel.restore(pipes[1])
    layout.generate(pipes[0], steps=5)
    assert modes(pipes[0]) == ["all", "none", "all", "none", "all"]
    dit_accel.restore(pipes[0])
    assert not {"step", "set_timesteps"} & vars(scheduler).keys()


def test_two_pipelines_that_share_a_transformer_share_its_plan(layout: TinyFamily) -> None:
    """The second one's scheduler is nobody's business: its timesteps place the calls."""
    first = dit_accel.accelerate(layout.pipeline(), PLANS["interval_reuse"])
    layout.generate(first)
    assert modes(first) == ["all", "none", "all", "none", "all", "all"]
    second = layout.pipeline(transformer=first.transformer)
    layout.generate(second)
    assert modes(second) == ["all", "none", "all", "none", "all", "none"]
    dit_accel.restore(second)
    assert installation_of(first) is None and "step" not in vars(first.scheduler)
