"""Compilation by block, and what the other rewrites look like inside of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from exact_runs import TOLERANCE, distance
from plans import PLANS
from tiny_models import FAMILIES
from torch import nn
from torch._dynamo.testing import CompileCounter

import dit_accel


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(transformer: Any) -> list[bool]:
    return [block._compiled_call_impl is not None for block in transformer.transformer_blocks]


def test_blocks_are_compiled_for_the_plan_only(family: Any) -> None:
    transformer = family.transformer(2)
    before = [set(vars(block)) for block in transformer.transformer_blocks]
    transformer.transformer_blocks[1].compile()  # somebody's own
    mine = transformer.transformer_blocks[1]._compiled_call_impl
    dit_accel.accelerate(transformer, {"exact": {"compile": True}})
    assert compiled(transformer) == [True, True]
    dit_accel.restore(transformer)
    assert compiled(transformer) == [False, True]
    assert transformer.transformer_blocks[1]._compiled_call_impl is mine
    assert set(vars(transformer.transformer_blocks[0])) == before[0]


def test_blocks_may_have_more_variants_than_dynamo_allows_by_itself(
    dit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []
    monkeypatch.setattr(
        nn.Module, "compile", lambda _, recompile_limit: limits.append(recompile_limit)
    )
    dit_accel.accelerate(dit.transformer(2), {"exact": {"compile": True}})
    assert len(limits) == 2 and min(limits) > torch._dynamo.config.recompile_limit


def test_it_is_off_by_default(dit: Any) -> None:
    assert not any(compiled(dit_accel.accelerate(dit.transformer(2), {"exact": True})))


@pytest.mark.parametrize(
    ("key", "plan"),
    [
        pytest.param("dit", {}, id="dit-exact"),
        pytest.param("alpha", PLANS["first_block"], id="alpha-first_block"),
        pytest.param("alpha", {}, id="alpha-exact", marks=pytest.mark.slow),
        pytest.param("dit", PLANS["first_block"], id="dit-first_block", marks=pytest.mark.slow),
    ],
)
def test_other_rewrites_neither_break_nor_recompile_a_graph(key: str, plan: Any) -> None:
    family, counts = FAMILIES[key], []
    samples = (1,) if plan else (1, 2)  # rows of some samples alone are graphs of their own
    for layers in (4, 5):
        torch._dynamo.reset()
        transformer = dit_accel.accelerate(family.transformer(layers), {**plan, "exact": True})
        eager = family.denoise(transformer, samples)
        counter = CompileCounter()
        for block in transformer.transformer_blocks:
            block.compile(backend=counter, fullgraph=not plan)
        for _ in range(2):
            assert distance(eager, family.denoise(transformer, samples)) <= TOLERANCE
            counts.append(counter.frame_count)
    assert counts[0] == counts[1] and counts[2] == counts[3]  # nothing in the second run
    # Another depth may decide otherwise, which is fewer sorts of steps here.
    assert counts[2] <= counts[0] <= 8


@pytest.mark.parametrize("key", ["dit", "alpha"])
def test_a_whole_compiled_transformer(key: str) -> None:
    family = FAMILIES[key]
    transformer = dit_accel.accelerate(family.transformer(2), {"exact": True})
    eager, counter = family.denoise(transformer, (1, 2)), CompileCounter()
    transformer.compile(backend=counter)
    counts = []
    for _ in range(2):
        assert distance(eager, family.denoise(transformer, (1, 2))) <= TOLERANCE
        counts.append(counter.frame_count)
    assert 0 < counts[0] == counts[1]


@pytest.mark.requires_compiler
@pytest.mark.parametrize("key", ["dit", "alpha"])
def test_compiled_equals_stock(key: str) -> None:
    family = FAMILIES[key]
    stock = family.denoise(family.transformer(2), (1, 2))
    fast = dit_accel.accelerate(family.transformer(2), {"exact": {"compile": True}})
    assert distance(stock, family.denoise(fast, (1, 2))) <= TOLERANCE
