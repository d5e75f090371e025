"""SpeCa's rule, with failing samples computed at once, against a plain loop over one sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plain_cache import PlainCache, accelerated_run, assert_equal_to_plain
from references import extrapolate
from tiny_models import TinyFamily, decisions, every_family, modes
from torch import Tensor

import dit_accel
from dit_accel.errors import PlanError
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.plan import Plan

STEPS = 14
BASE, DECAY, FLOOR, MOST = {"dit": 0.5, "alpha": 1.0, "sigma": 1.0}, 0.2, 0.02, 3


class PlainVerify(PlainCache):
    """The last block, called outside of its turn, by its class: no hook hears of it."""

    minimum = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.in_a_row = 0
        self.inner: list[list[tuple[float, Tensor]]] = [[] for _ in self.histories]
        self.last = self.transformer.transformer_blocks[-1]
        self.last.register_forward_pre_hook(self._enter_last, with_kwargs=True)
        self.replaced = self.entered = torch.empty(0)

    def _enter_last(self, _: Any, args: Any, kwargs: Any) -> None:
        self.entered = args[0] if args else kwargs.pop("hidden_states")
        arguments = [*args[1:]]
        inner = self.inner[self.call]
        guess = self.start
        if inner:
            guess = self.start + extrapolate(inner, self.step, self.order)
            self.replaced = type(self.last).forward(self.last, guess, *arguments, **kwargs)
        if self.call == 0:
            self.decide(not inner or self.fails(guess))
        if self.computed[-1]:
            inner.append((self.step, self.entered - self.start))

    def fails(self, guess: Tensor) -> bool:
        if self.is_last or self.step < 2:
            self.in_a_row = 0
            return True
        added, expected = self.replaced - guess, extrapolate(self.history, self.step, self.order)
        error = (added - expected).abs().sum((1, 2)) / expected.abs().sum((1, 2))
        progress = self.step / (STEPS - 1)
        limit = max(FLOOR, BASE[self.family.name] * DECAY**progress)
        good = float(error.max()) <= limit or self.in_a_row < self.minimum
        if good and self.in_a_row < MOST:
            self.in_a_row += 1
            return False
        self.in_a_row = 0
        return True

    def _leave(self, _: Any, args: Any, output: Tensor) -> Tensor:
        if self.computed[self.step]:
            self.history.append((self.step, output - self.entered))
            return output
        return self.replaced


class PlainMinimum(PlainVerify):
    minimum = 2


def policy(family: TinyFamily, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "verify",
        "base": BASE[family.name],
        "decay": DECAY,
        "floor": FLOOR,
        "minimum": 0,
        "maximum": MOST,
        "retention": 2 / STEPS,
        **fields,
    }


@every_family
@pytest.mark.parametrize(
    ("guidance", "site"),
    [("none", "model"), ("batched", "model"), ("separate", "model"), ("batched", "block")],
)
def test_equals_a_plain_loop_over_each_sample(family: TinyFamily, guidance: str, site: str) -> None:
    cache = {"site": site, "policy": policy(family), "guard": False}
    got, transformer = accelerated_run(family, cache, STEPS, guidance)
    decided = decisions(transformer)
    assert {True, False} == {needed for step in decided for needed in step}
    assert_equal_to_plain(
        family, lambda f, calls: PlainVerify(f, STEPS, calls=calls), got, decided, guidance
    )


@every_family
def test_so_many_are_accepted_whatever_their_error(family: TinyFamily) -> None:
    cache = {"policy": policy(family, minimum=2), "guard": False}
    got, transformer = accelerated_run(family, cache, STEPS, exact=True)
    assert_equal_to_plain(
        family,
        lambda f, calls: PlainMinimum(f, STEPS, calls=calls),
        got,
        decisions(transformer),
        "batched",
    )


@every_family
def test_samples_part(family: TinyFamily) -> None:
    parted = 0
    for base in (0.1, 0.2, 0.3, 0.5, 1.0, 2.0):
        cache = {"policy": policy(family, base=base, maximum=8), "guard": False}
        _, transformer = accelerated_run(family, cache, STEPS)
        parted += sum(len(set(step)) == 2 for step in decisions(transformer))
    assert parted


@every_family
def test_the_last_block_runs_once_where_it_accepts(family: TinyFamily) -> None:
    transformer = family.transformer()
    ran: list[int] = []
    for layer, block in enumerate(transformer.transformer_blocks):
        block.attn1.register_forward_pre_hook(lambda *_, layer=layer: ran.append(layer))
    fields = {"base": 1000.0, "floor": 1000.0, "maximum": 8, "retention": 0.0}
    dit_accel.accelerate(transformer, {"cache": {"policy": policy(family, **fields)}})
    with dit_accel.run(transformer, timesteps=8):
        family.denoise(transformer, steps=8)
    found = modes(transformer)
    # The first and the last step are computed without a look.
    assert found == ["all", *["none"] * 6, "all"]
    assert [ran.count(layer) for layer in range(4)] == [2] * 3 + [8]


def test_what_it_does_not_go_with() -> None:
    with pytest.raises(PlanError, match="use site model or block"):
        CacheConfig(site="deep", policy="verify")
    with pytest.raises(PlanError, match="use site model or block"):
        CacheConfig(site="guidance", policy="verify")
    with pytest.raises(PlanError, match="minimum: got 9, expected at most maximum, which is 8"):
        CacheConfig(policy={"kind": "verify", "minimum": 9})
    with pytest.raises(PlanError, match="runs the last block before the others"):
        Plan.load({"cache": {"policy": "verify"}, "merge": {"kind": "tome2d"}})
