"""torch.compile, regional and whole: no graph break in a block, no recompilation, equal results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from judging import JUDGING
from plans import PLANS
from tiny_models import FAMILIES, TinyFamily, modes
from torch._dynamo.testing import CompileCounter

import dit_accel

STEPS = 5


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


STEADY = {
    "tome2d": {"merge": {"kind": "tome2d", "ratio": 0.5}},
    "tome2d shared": {
        "merge": {"kind": "tome2d", "ratio": 0.5, "reuse_layers": 2, "reuse_steps": 2}
    },
}
"""Merging with one ratio: few distinct cells."""


def compile_blocks(transformer: Any, backend: Any, fullgraph: bool = True) -> None:
    for block in transformer.transformer_blocks:
        block.compile(backend=backend, fullgraph=fullgraph)


def run(family: TinyFamily, transformer: Any) -> torch.Tensor:
    with dit_accel.run(transformer, timesteps=STEPS):
        return family.denoise(transformer, (1, 2), steps=STEPS)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("interval_reuse", "dit"),
        ("interval_block", "alpha"),
        ("pooled", "dit"),
        ("tome2d shared", "dit"),
        ("kv_downsample", "alpha"),
    ],
)
def test_regional_blocks_have_no_graph_break_and_do_not_recompile(name: str, key: str) -> None:
    layout = FAMILIES[key]
    transformer = dit_accel.accelerate(layout.transformer(3), (PLANS | STEADY)[name])
    eager = run(layout, transformer)
    counter = CompileCounter()
    compile_blocks(transformer, counter)  # fullgraph: a graph break raises
    torch.testing.assert_close(run(layout, transformer), eager, rtol=1e-4, atol=1e-4)
    compiled = counter.frame_count
    assert compiled > 0
    torch.testing.assert_close(run(layout, transformer), eager, rtol=1e-4, atol=1e-4)
    assert counter.frame_count == compiled


@pytest.mark.parametrize("name", ["pooled", "tome2d"])
def test_the_number_of_regional_graphs_does_not_grow_with_the_depth(name: str) -> None:
    """Else a model of 28 layers would run into dynamo's recompilation limit."""
    family, counts = FAMILIES["dit"], []
    for num_layers in (4, 5):
        torch._dynamo.reset()
        transformer = family.transformer(num_layers)
        dit_accel.accelerate(transformer, (PLANS | STEADY)[name])
        counter = CompileCounter()
        compile_blocks(transformer, counter)
        run(family, transformer)
        counts.append(counter.frame_count)
    assert counts[0] == counts[1] <= 8


def test_few_graphs_suffice_for_a_cache_of_the_highest_order() -> None:
    """Dynamo compiles a function 8 times at most, then leaves it to eager mode."""
    family = FAMILIES["dit"]
    cache = {
        "predictor": {"kind": "polynomial", "order": 3},
        "policy": {"kind": "interval", "interval": 2},
    }
    transformer = dit_accel.accelerate(family.transformer(4), {"cache": cache})
    counter = CompileCounter()
    compile_blocks(transformer, counter)
    with dit_accel.run(transformer, timesteps=12):
        family.denoise(transformer, (1,), steps=12)
    assert counter.frame_count <= 6


@pytest.mark.parametrize(
    ("name", "key"), [("interval_polynomial", "dit"), ("first_block", "alpha")]
)
def test_a_whole_compiled_transformer_does_not_recompile_and_equals_eager(
    name: str, key: str
) -> None:
    family = FAMILIES[key]
    transformer = dit_accel.accelerate(family.transformer(2), (PLANS | STEADY)[name])
    eager = run(family, transformer)
    counter = CompileCounter()
    transformer.compile(backend=counter)
    torch.testing.assert_close(run(family, transformer), eager, rtol=1e-4, atol=1e-4)
    compiled = counter.frame_count
    assert compiled > 0
    torch.testing.assert_close(run(family, transformer), eager, rtol=1e-4, atol=1e-4)
    assert counter.frame_count == compiled


def test_first_block_decisions_are_those_of_eager_when_blocks_are_compiled(
    layout: TinyFamily,
) -> None:
    family = layout
    transformer = dit_accel.accelerate(family.transformer(3), PLANS["first_block"])

    def go() -> tuple[torch.Tensor, list[str]]:
        with dit_accel.run(transformer, timesteps=6):
            return family.denoise(transformer, guidance="none"), modes(transformer)

    eager, decided = go()
    counter = CompileCounter()
    compile_blocks(transformer, counter, fullgraph=False)
    for _ in range(2):
        latents, compiled_decided = go()
        torch.testing.assert_close(latents, eager, rtol=1e-4, atol=1e-4)
        assert compiled_decided == decided
    assert counter.frame_count > 0


LONG = {"easy", "input_change"}
"""Judges with the most kinds of steps to compile."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in JUDGING],
)
def test_other_decisions_are_those_of_eager_too(name: str) -> None:
    family = FAMILIES["alpha" if name == "input_change" else "dit"]
    transformer = dit_accel.accelerate(family.transformer(3), JUDGING[name])

    def go() -> tuple[torch.Tensor, list[str]]:
        with dit_accel.run(transformer, timesteps=7):
            return family.denoise(transformer, steps=7, guidance="none"), modes(transformer)

    eager, decided = go()
    assert set(decided) != {"all"}
    counter = CompileCounter()
    transformer.compile(backend=counter)
    compiled = 0
    for _ in range(2):
        latents, compiled_decided = go()
        torch.testing.assert_close(latents, eager, rtol=1e-4, atol=1e-4)
        assert compiled_decided == decided
        compiled, before = counter.frame_count, compiled
    assert compiled == before > 0  # the second run compiles nothing


def test_a_wrapped_transformer_is_unwrapped() -> None:
    """`pipe.transformer = torch.compile(pipe.transformer)`, then accelerate, then restore."""
    family = FAMILIES["dit"]
    pipe = family.pipeline(num_layers=2)
    stock = family.generate(pipe, steps=STEPS)
    pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    eager = family.pipeline(num_layers=2)
    expected = family.generate(dit_accel.accelerate(eager, PLANS["interval_reuse"]), steps=STEPS)
    dit_accel.accelerate(pipe, PLANS["interval_reuse"])
    got = family.generate(pipe, steps=STEPS)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert modes(pipe) == ["all", "none", "all", "none", "all"]
    dit_accel.restore(pipe)
    torch.testing.assert_close(family.generate(pipe, steps=STEPS), stock, rtol=1e-4, atol=1e-4)


def test_restoring_compiled_blocks_gives_stock_results_again(layout: TinyFamily) -> None:
    family = layout
    transformer = family.transformer(2)
    stock = family.denoise(transformer, (1, 2), steps=STEPS)
    dit_accel.accelerate(transformer, PLANS["interval_reuse"])
    compile_blocks(transformer, "eager")
    run(family, transformer)
    dit_accel.restore(transformer)
    got = family.denoise(transformer, (1, 2), steps=STEPS)
    torch.testing.assert_close(got, stock, rtol=1e-4, atol=1e-4)


@pytest.mark.requires_compiler
def test_inductor_equals_eager() -> None:
    family = FAMILIES["dit"]
    transformer = dit_accel.accelerate(family.transformer(2), PLANS["interval_polynomial"])
    eager = run(family, transformer)
    compile_blocks(transformer, "inductor")
    for _ in range(2):
        torch.testing.assert_close(run(family, transformer), eager, rtol=1e-3, atol=1e-3)
