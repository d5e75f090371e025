"""A run equals a fresh one bit for bit, whatever happened before it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from plans import PLANS
from tiny_models import TinyFamily, ddim, modes

import dit_accel
from dit_accel.install import installation_of


class InterruptedRunError(RuntimeError):
    """Raised in mid-run."""


class FailingScheduler(DDIMScheduler):
    """Raises at its third step, once."""

    armed = False

    def step(self, *args: Any, **kwargs: Any) -> Any:
        index = list(self.timesteps).index(args[1])
        if self.armed and index == 2:
            self.armed = False
            raise InterruptedRunError
        return super().step(*args, **kwargs)


def raise_in_block(transformer: Any, call: int, error: type[BaseException]) -> Any:
    """Let the last block raise at a call of the model, in mid-forward; returns the remover."""
    count = [0]

    def raising(*_: Any) -> None:
        count[0] += 1
        if count[0] == call:
            raise error

    return transformer.transformer_blocks[-1].register_forward_pre_hook(raising)


_fresh: dict[str, torch.Tensor] = {}


def fresh_run(family: TinyFamily, plan: dict[str, Any], **kwargs: Any) -> torch.Tensor:
    """The first run of a new pipeline; made once and compared with many."""
    key = repr((family.name, plan, kwargs))
    if key not in _fresh:
        pipe = dit_accel.accelerate(family.pipeline(), plan)
        _fresh[key] = family.generate(pipe, **kwargs)
    return _fresh[key]


BEFORE: dict[str, dict[str, Any]] = {
    "other prompts or labels": {"samples": (7, 8, 9)},
    "another batch size": {"samples": (4, 5)},
    "another number of steps": {"steps": 9},
    "no guidance": {"guidance": 1.0},
    "no guidance and as many rows": {"guidance": 1.0, "samples": (1, 2, 3, 4, 5, 6)},
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=[name.replace(" ", "-") for name in BEFORE])
def test_a_run_after_another_equals_a_fresh_one(
    layout: TinyFamily, remembering_plan: dict[str, Any], before: dict[str, Any]
) -> None:
    pipe = dit_accel.accelerate(layout.pipeline(), remembering_plan)
    layout.generate(pipe, **before)
    assert torch.equal(layout.generate(pipe), fresh_run(layout, remembering_plan))


def test_a_run_after_another_resolution_equals_a_fresh_one(
    pixart: Any, remembering_plan: dict[str, Any]
) -> None:
    pipe = dit_accel.accelerate(pixart.pipeline(), remembering_plan)
    for size in ((8, 16), (8, 8), (16, 8)):
        assert torch.equal(
            pixart.generate(pipe, size=size), fresh_run(pixart, remembering_plan, size=size)
        )


@pytest.mark.parametrize("call", [1, 3, 4])
def test_a_run_after_an_exception_inside_a_block_equals_a_fresh_one(
    layout: TinyFamily, remembering_plan: dict[str, Any], call: int
) -> None:
    error = KeyboardInterrupt if call % 2 else InterruptedRunError
    pipe = dit_accel.accelerate(layout.pipeline(), remembering_plan)
    handle = raise_in_block(pipe.transformer, call, error)
    with pytest.raises(error):
        layout.generate(pipe)
    handle.remove()
    assert torch.equal(layout.generate(pipe), fresh_run(layout, remembering_plan))


def test_a_run_after_an_exception_in_the_scheduler_equals_a_fresh_one(
    layout: TinyFamily, remembering_plan: dict[str, Any]
) -> None:
    scheduler = FailingScheduler.from_config(ddim().config)
    pipe = dit_accel.accelerate(layout.pipeline(scheduler), remembering_plan)
    scheduler.armed = True
    with pytest.raises(InterruptedRunError):
        layout.generate(pipe)
    assert torch.equal(layout.generate(pipe), fresh_run(layout, remembering_plan))


@pytest.mark.parametrize("error", [InterruptedRunError, KeyboardInterrupt])
def test_a_run_after_an_exception_in_a_callback_equals_a_fresh_one(
    pixart: Any, telling_plan: dict[str, Any], error: type[BaseException]
) -> None:
    def callback(step: int, *_: Any) -> None:
        if step == 3:
            raise error

    pipe = dit_accel.accelerate(pixart.pipeline(), telling_plan)
    with pytest.raises(error):
        pixart.generate(pipe, callback=callback)
    assert torch.equal(pixart.generate(pipe), fresh_run(pixart, telling_plan))


@pytest.mark.parametrize(
    ("done", "guidance"), [(1, "batched"), (3, "batched"), (2, "separate"), (2, "none")]
)
def test_a_run_after_an_abandoned_loop_equals_a_fresh_one(
    layout: TinyFamily, remembering_plan: dict[str, Any], done: int, guidance: str
) -> None:
    def loop(pipe: Any, samples: tuple[int, ...]) -> Any:
        return layout.steps_of(pipe.transformer, samples, 6, guidance, pipe.scheduler)

    pipe = dit_accel.accelerate(layout.pipeline(), remembering_plan)
    abandoned = loop(pipe, (7, 8, 9))
    for _ in range(done):
        next(abandoned)
    again = list(loop(pipe, (1, 2, 3)))
    fresh = list(loop(dit_accel.accelerate(layout.pipeline(), remembering_plan), (1, 2, 3)))
    assert all(map(torch.equal, again, fresh))


@pytest.mark.parametrize("leave", ["break", "raise"])
def test_a_bare_run_after_an_abandoned_one_equals_a_fresh_one(
    layout: TinyFamily, remembering_plan: dict[str, Any], leave: str
) -> None:
    def go(transformer: Any, samples: tuple[int, ...], stop: int | None = None) -> Any:
        done = []
        with dit_accel.run(transformer, timesteps=6):
            for latents in layout.steps_of(transformer, samples):
                done.append(latents)
                if len(done) == stop:
                    if leave == "raise":
                        raise InterruptedRunError
                    break
        return done[-1]

    transformer = dit_accel.accelerate(layout.transformer(), remembering_plan)
    with contextlib.suppress(InterruptedRunError):
        go(transformer, (7, 8, 9), stop=2)
    installation = installation_of(transformer)
    assert installation is not None and installation.nbytes == 0
    assert torch.equal(
        go(transformer, (1, 2, 3)),
        go(dit_accel.accelerate(layout.transformer(), remembering_plan), (1, 2, 3)),
    )


def test_statistics_are_of_the_last_run_alone(layout: TinyFamily) -> None:
    pipe = dit_accel.accelerate(layout.pipeline(), PLANS["interval_reuse"])
    layout.generate(pipe, steps=4)
    layout.generate(pipe, steps=5)
    assert modes(pipe) == ["all", "none", "all", "none", "all"]


def test_nothing_is_remembered_after_a_run(
    layout: TinyFamily, remembering_plan: dict[str, Any]
) -> None:
    pipe = dit_accel.accelerate(layout.pipeline(), remembering_plan)
    layout.generate(pipe)
    installation = installation_of(pipe)
    assert installation is not None
    hooks = installation._hooks
    assert installation.nbytes == 0 and installation._caches.is_empty and not hooks.merges
    inner = (*hooks.attentions, *hooks.feed_forwards)
    assert all(hook.memory is None for hook in inner)
    assert all(hook.cache is hook.probe is hook.look is hook.ring is None for hook in hooks.blocks)
    assert hooks.modules is not None
    assert all(hook.cell is None for hook in hooks.modules._hooks.values())
    assert all(hook.chooser is None for hook in hooks.modules._values.values())


def test_memory_of_the_run_is_bounded_while_it_lasts(
    layout: TinyFamily, remembering_plan: dict[str, Any]
) -> None:
    pipe = dit_accel.accelerate(layout.pipeline(), remembering_plan)
    installation = installation_of(pipe)
    assert installation is not None
    held: list[int] = []
    loop: Callable[..., Any] = layout.steps_of
    for _ in loop(pipe.transformer, (1, 2), 12, "batched", pipe.scheduler):
        held.append(installation.nbytes)
    if "cache" in remembering_plan:
        assert max(held) > 0
    assert held[-1] == 0
    assert max(held[:-1]) == max(held[6:-1])
