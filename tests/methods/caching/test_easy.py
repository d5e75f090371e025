"""EasyCache's rule against a plain loop over one sample."""

from __future__ import annotations

from typing import Any

import pytest
from plain_cache import PlainCache, accelerated_run, assert_equal_to_plain
from tiny_models import TinyFamily, decisions, every_family, modes
from torch import Tensor

import dit_accel

STEPS = 12


class PlainEasy(PlainCache):
    """The rule, for one sample, with means over both of its rows."""

    threshold, warm = 0.3, 2

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.latents: Tensor | None = None
        self.output: Tensor | None = None
        self.rate: float | None = None
        self.total = self.moved = 0.0

    def begin(self, latents: Tensor) -> None:
        if self.latents is not None:
            self.moved = float((latents - self.latents).abs().mean())
        self.latents = latents
        need = self.step < self.warm or self.is_last or self.rate is None
        if not need:
            assert self.rate is not None and self.output is not None
            self.total += self.rate * self.moved / float(self.output.abs().mean())
            need = self.total >= self.threshold
        if need:
            self.total = 0.0
        self.decide(need)

    def end(self, output: Tensor) -> None:
        output = output[:, :4]
        if self.output is not None and self.computed[-1]:
            self.rate = float((output - self.output).abs().mean()) / self.moved
        self.output = output


@every_family
@pytest.mark.parametrize("guidance", ["none", "batched", "separate"])
def test_equals_a_plain_loop_over_each_sample(family: TinyFamily, guidance: str) -> None:
    policy = {"kind": "easy", "threshold": 0.3, "retention": 2 / STEPS}
    got, transformer = accelerated_run(family, {"policy": policy}, STEPS, guidance)
    decided = decisions(transformer)
    assert {True, False} == {needed for step in decided for needed in step}
    assert_equal_to_plain(
        family, lambda f, calls: PlainEasy(f, STEPS, calls=calls), got, decided, guidance
    )


@every_family
def test_samples_part(family: TinyFamily) -> None:
    parted = 0
    for threshold in (0.15, 0.2, 0.3, 0.4):
        policy = {"kind": "easy", "threshold": threshold}
        _, transformer = accelerated_run(family, {"policy": policy}, STEPS)
        parted += sum(len(set(step)) == 2 for step in decisions(transformer))
    assert parted


@every_family
def test_a_forecast_step_runs_no_block(family: TinyFamily) -> None:
    transformer = family.transformer()
    ran: list[int] = []
    transformer.transformer_blocks[0].attn1.register_forward_pre_hook(lambda *_: ran.append(1))
    policy = {"kind": "easy", "threshold": 1000, "retention": 0.0}
    dit_accel.accelerate(transformer, {"cache": {"policy": policy}})
    with dit_accel.run(transformer, timesteps=6):
        family.denoise(transformer, steps=6)
    # The rate is known after two computed steps; the last one is computed.
    assert modes(transformer) == ["all", "all", "none", "none", "none", "all"]
    assert len(ran) == 3
