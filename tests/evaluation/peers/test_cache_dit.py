"""`first_block` and the Taylor predictor against cache-dit's own, on a single sample.

Without guidance: cache-dit takes the mean of both guidance rows, ours decides by the larger change.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import TinyFamily, every_family, modes

import dit_accel
from dit_accel.errors import DitAccelError
from dit_accel.evaluation.peers.dual_block import CacheDit
from dit_accel.plan import Plan

STEPS = 14
THRESHOLDS = {"dit": 0.3, "alpha": 0.4, "sigma": 0.4}
NOTHING, EXACT = Plan(), Plan(exact=True)


@pytest.fixture(autouse=True)
def installed() -> None:
    reason = "cache-dit is not installed (it is in the test extra)"
    pytest.importorskip("cache_dit", reason=reason)


def their_run(
    family: TinyFamily, settings: CacheDit, exact: Plan = NOTHING, guidance: float = 1.0
) -> tuple[torch.Tensor, list[str], Any, int]:
    pipe = family.pipeline(dtype=torch.float64)
    attached = settings.attach(pipe, exact)
    attached.begin()
    latents = family.generate(pipe, (1,), STEPS, guidance)
    [context] = pipe._context_manager._cached_context_manager.values()
    cached = context.get_cached_steps()
    return latents, ["none" if i in cached else "all" for i in range(STEPS)], pipe, attached.nbytes


def our_run(
    family: TinyFamily, threshold: float, predictor: Any, **cache: Any
) -> tuple[torch.Tensor, list[str]]:
    pipe = family.pipeline(dtype=torch.float64)
    cache = {"policy": {"kind": "first_block", "threshold": threshold}} | cache
    dit_accel.accelerate(pipe, {"cache": {"predictor": predictor, **cache}})
    return family.generate(pipe, (1,), STEPS, 1.0), modes(pipe)


@every_family
def test_first_block_takes_its_decisions_and_gives_its_latents(family: TinyFamily) -> None:
    threshold = THRESHOLDS[family.name]
    theirs, decided, _, nbytes = their_run(
        family, CacheDit(first=1, warm_up=1, threshold=threshold)
    )
    ours, modes = our_run(family, threshold, "reuse")
    assert modes == decided
    assert {"all", "none"} <= set(decided)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert nbytes == 2 * 64 * family.transformer().inner_dim * 8


@every_family
def test_taylor_forecasts_alike_once_its_derivatives_begin(family: TinyFamily) -> None:
    """cache-dit counts a stream from its first update on, and differences from its third step."""
    threshold = THRESHOLDS[family.name]
    settings = CacheDit(first=1, warm_up=5, threshold=threshold, taylor=1)
    theirs, decided, _, _ = their_run(family, settings)
    assert decided[:5] == ["all"] * 5 and "none" in decided
    # The warm-up has no other counterpart: with a threshold of zero every step is computed.
    schedule = {"schedule": "steps", "values": [0, threshold], "at": [4.5 / (STEPS - 1)]}
    ours, modes = our_run(family, schedule, {"kind": "taylor", "order": 1})
    assert modes == decided
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@every_family
def test_the_exact_rewrites_change_nothing_but_rounding(family: TinyFamily) -> None:
    settings = CacheDit(first=1, warm_up=2, threshold=THRESHOLDS[family.name], taylor=1)
    plain, decided, _, _ = their_run(family, settings, guidance=2.0)
    rewritten, same, pipe, _ = their_run(family, settings, EXACT, guidance=2.0)
    assert decided == same and "none" in decided
    assert dit_accel.summary(pipe).exact
    torch.testing.assert_close(rewritten, plain, rtol=1e-9, atol=1e-9)


@every_family
def test_neither_other_pipelines_nor_the_next_run_notice(family: TinyFamily) -> None:
    settings = CacheDit(first=1, warm_up=2, threshold=THRESHOLDS[family.name])
    first, _, pipe, _ = their_run(family, settings, guidance=2.0)
    torch.testing.assert_close(family.generate(pipe, (1,), STEPS), first, rtol=0, atol=0)
    family.generate(pipe, (2,), STEPS - 3)
    torch.testing.assert_close(family.generate(pipe, (1,), STEPS), first, rtol=0, atol=0)
    other = family.pipeline(dtype=torch.float64)
    assert not hasattr(other, "_is_cached")
    dense = family.generate(other, (1,), STEPS)
    assert not torch.equal(dense, first)


def test_no_block_in_the_middle_is_refused() -> None:
    with pytest.raises(DitAccelError, match=r"first \+ last: got 4, .*4 blocks.*lower first"):
        CacheDit(first=3, last=1).check(4)


def test_labels_tell_settings_apart() -> None:
    assert CacheDit().label == "cache-dit F8 B0 W8 0.08"
    label = CacheDit(first=1, last=2, warm_up=4, threshold=0.12, most_in_a_row=3, taylor=1).label
    assert label == "cache-dit F1 B2 W4 0.12 MC3 T1"
