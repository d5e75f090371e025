"""Key/value down-sampling: what attention sees, and what it returns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from references import attend, record
from tiny_models import FAMILIES, TEXT_LENGTH, TinyFamily, every_family
from torch.nn import functional

import dit_accel
from dit_accel.methods.cell import Cell
from dit_accel.methods.kv_downsample import KVDownsample
from dit_accel.tokens.grid import Grid


@pytest.fixture
def lengths(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(queries, keys) of every attention that runs."""
    seen: list[tuple[int, int]] = []
    original = functional.scaled_dot_product_attention

    def recorded(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        assert key.shape == value.shape
        seen.append((query.shape[-2], key.shape[-2]))
        return original(query, key, value, *args, **kwargs)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", recorded)
    return seen


def call(family: TinyFamily, plan: dict[str, Any], size: tuple[int, int] = (8, 8)) -> None:
    transformer = dit_accel.accelerate(family.transformer(num_layers=2), plan)
    with torch.no_grad(), dit_accel.run(transformer, timesteps=1):
        condition = family.condition((1,), torch.float32)
        family.predict(transformer, torch.randn(1, 4, *size), 500, condition)


@every_family
@pytest.mark.parametrize(("factor", "keys"), [(1, 64), (2, 16), (3, 9), (8, 1)])
def test_queries_are_all_there_and_keys_fewer(
    family: TinyFamily, factor: int, keys: int, lengths: list[tuple[int, int]]
) -> None:
    call(family, {"attention": {"kind": "kv_downsample", "factor": factor}})
    cross = [] if family.name == "dit" else [(64, TEXT_LENGTH)]
    assert lengths == [(64, keys), *cross] * 2


def test_text_tokens_are_never_pooled(lengths: list[tuple[int, int]]) -> None:
    plan = {
        "attention": {"kind": "kv_downsample", "factor": 2},
        "density": {"kind": "pooled", "pool": 2, "layers": [0, 1]},
        "merge": {"kind": "tome2d", "ratio": 0.5, "layers": [1, 2]},
    }
    call(FAMILIES["sigma"], plan, size=(8, 16))
    # In a pooled block the pooled tokens' keys are pooled; merged queries keep the full grid's.
    assert lengths == [(32, 8), (32, 5), (64, 32), (128, 5)]


@every_family
def test_attention_equals_softmax_over_pooled_keys_and_values(family: TinyFamily) -> None:
    transformer = family.transformer(dtype=torch.float64)
    attention = transformer.transformer_blocks[1].attn1
    inputs, outputs, _ = record([attention])
    plan = {"attention": {"kind": "kv_downsample", "factor": 2, "layers": [1, 2]}}
    dit_accel.accelerate(transformer, plan)
    with torch.no_grad(), dit_accel.run(transformer, timesteps=1):
        latents = torch.randn(2, 4, 8, 8, dtype=torch.float64)
        family.predict(transformer, latents, 500, family.condition((1, 2), torch.float64))
        dit_accel.restore(transformer)
        for x, got in zip(inputs[0][0], outputs[0][0], strict=True):
            pooled = functional.avg_pool2d(x.mT.unflatten(1, (8, 8)), 2).flatten(1).mT
            expected = attend(attention, pooled, x)
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@every_family
def test_constant_values_pass_through(family: TinyFamily) -> None:
    transformer = family.transformer()
    attention = transformer.transformer_blocks[0].attn1
    x = torch.randn(1, 1, attention.to_q.in_features).expand(1, 64, -1)
    stock = attention(x)
    dit_accel.accelerate(transformer, {"attention": {"kind": "kv_downsample", "factor": 4}})
    with torch.no_grad(), dit_accel.run(transformer, timesteps=1):
        condition = family.condition((1,), torch.float32)
        family.predict(transformer, torch.randn(1, 4, 8, 8), 500, condition)
        torch.testing.assert_close(attention(x), stock)


def test_the_factor_may_follow_a_schedule_and_layers_and_steps_a_range() -> None:
    config = KVDownsample(
        factor={"schedule": "linear", "start": 4, "end": 1}, layers=[1, 4], steps=[0.0, 0.8]
    )

    def factor(layer: int, step: int) -> int:
        operator = config.operator(Cell(layer, 4, step, 11, step / 10, Grid(8, 8)))
        return operator.factor if operator else 1

    assert [factor(1, step) for step in range(11)] == [4, 4, 3, 3, 3, 2, 2, 2, 2, 1, 1]
    assert [factor(layer, 0) for layer in range(4)] == [1, 4, 4, 4]


def test_equal_cells_have_equal_operators() -> None:
    """`torch.compile` guards on their values: a difference would compile the cell again."""
    config = KVDownsample()
    cells = [Cell(layer, 4, 0, 5, 0.0, Grid(8, 8)) for layer in range(4)]
    assert len({config.operator(cell) for cell in cells}) == 1
