"""TeaCache's rule against a plain loop over one sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plain_cache import PlainCache, accelerated_run, assert_equal_to_plain
from tiny_models import TinyFamily, decisions, every_family, modes
from torch import Tensor

import dit_accel
from dit_accel.errors import PlanError
from dit_accel.methods.caching.cache import CacheConfig

STEPS = 12
THRESHOLD = 0.3


class PlainInputChange(PlainCache):
    """The rule, for one sample: the larger change of its rows, rescaled, counts."""

    coefficients: tuple[float, ...] = (1.0, 0.0)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before: Tensor | None = None
        self.total = 0.0

    def look(self, modulated: Tensor) -> None:
        need = self.before is None or self.is_last
        if not need:
            assert self.before is not None
            moved = (modulated - self.before).abs().mean((1, 2)) / self.before.abs().mean((1, 2))
            change = float(moved.max())
            powers = range(len(self.coefficients) - 1, -1, -1)
            self.total += sum(
                c * change**power for c, power in zip(self.coefficients, powers, strict=True)
            )
            need = self.total >= THRESHOLD
        if need:
            self.total = 0.0
        self.before = modulated
        self.decide(need)


class PlainPolynomial(PlainInputChange):
    coefficients = (0.7, -0.2, 1.1, 0.01)


POLICY = {"kind": "input_change", "threshold": THRESHOLD}


@every_family
@pytest.mark.parametrize(
    ("guidance", "exact"),
    [("none", False), ("batched", False), ("separate", False), ("batched", True)],
)
def test_equals_a_plain_loop_over_each_sample(
    family: TinyFamily, guidance: str, exact: bool
) -> None:
    got, transformer = accelerated_run(family, {"policy": POLICY}, STEPS, guidance, exact=exact)
    decided = decisions(transformer)
    assert {True, False} == {needed for step in decided for needed in step}
    assert_equal_to_plain(
        family, lambda f, calls: PlainInputChange(f, STEPS, calls=calls), got, decided, guidance
    )


@every_family
def test_rescales_by_the_published_polynomials_too(family: TinyFamily) -> None:
    policy = {**POLICY, "coefficients": list(PlainPolynomial.coefficients)}
    got, transformer = accelerated_run(family, {"policy": policy}, STEPS)
    assert_equal_to_plain(
        family,
        lambda f, calls: PlainPolynomial(f, STEPS, calls=calls),
        got,
        decisions(transformer),
        "batched",
    )


@every_family
def test_a_power_law_scales_the_change(family: TinyFamily) -> None:
    _, plain = accelerated_run(family, {"policy": POLICY}, STEPS)
    doubled = {**POLICY, "factor": 2.0, "threshold": 2 * THRESHOLD}
    _, scaled = accelerated_run(family, {"policy": doubled}, STEPS)
    assert decisions(plain) == decisions(scaled)
    _, flat = accelerated_run(
        family, {"policy": {**POLICY, "exponent": 0.0, "threshold": 1.5}}, STEPS
    )
    assert modes(flat) == ["all", *["none", "all"] * 5, "all"]


@every_family
@pytest.mark.parametrize("first", [0, 2])
def test_blocks_before_the_site_are_fresh(family: TinyFamily, first: int) -> None:
    transformer = family.transformer()
    ran: list[int] = []
    for layer, block in enumerate(transformer.transformer_blocks):
        block.attn1.register_forward_pre_hook(lambda *_, layer=layer: ran.append(layer))
    cache = {"site": {"kind": "deep", "first": first}, "policy": {**POLICY, "threshold": 1000}}
    dit_accel.accelerate(transformer, {"cache": cache})
    with dit_accel.run(transformer, timesteps=5):
        family.denoise(transformer, steps=5)
    assert [ran.count(layer) for layer in range(4)] == [5] * first + [2] * (4 - first)


def test_two_rescalings_contradict_each_other() -> None:
    with pytest.raises(PlanError, match=r"coefficients: got .*, expected none beside factor"):
        CacheConfig(policy={**POLICY, "coefficients": [1.0, 0.0], "factor": 2.0})


def test_the_default_is_the_identity() -> None:
    change = torch.tensor([0.0, 0.1, 3.0])
    policy: Any = CacheConfig(policy="input_change").policy
    torch.testing.assert_close(policy._rescale(change), change)
