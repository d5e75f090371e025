"""ToMe-2D inside a model equals merge -> module -> unmerge written with explicit matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from references import attend, record
from tiny_models import FAMILIES, TinyFamily, every_family

import dit_accel
from dit_accel.errors import PlanError
from dit_accel.methods import tome2d_merge
from dit_accel.methods.cell import Cell
from dit_accel.methods.tome2d_merge import Tome2dMerge
from dit_accel.tokens.grid import Grid
from dit_accel.tokens.match import draw_destinations, mix_seed

GRID = Grid(8, 8)


def merge_matrix(metric: torch.Tensor, dst: list[int], num_merged: int) -> torch.Tensor:
    """`UW` of one row of the batch, `[N, N]`, by loops: the mean over each group of tokens."""
    count = metric.shape[0]
    unit = metric / metric.norm(dim=1, keepdim=True)
    sources = [token for token in range(count) if token not in dst]
    best = {s: max(dst, key=lambda d: float(unit[s] @ unit[d])) for s in sources}
    likeness = {s: float(unit[s] @ unit[best[s]]) for s in sources}
    merging = sorted(sources, key=lambda s: -likeness[s])[:num_merged]
    group = {token: token for token in range(count)} | {s: best[s] for s in merging}
    matrix = torch.zeros(count, count, dtype=metric.dtype)
    for token in range(count):
        members = [other for other in range(count) if group[other] == group[token]]
        matrix[token, members] = 1 / len(members)
    return matrix


@every_family
@pytest.mark.parametrize("ratio", [0.25, 0.75])
def test_attention_equals_merge_attend_unmerge(family: TinyFamily, ratio: float) -> None:
    layer, seed, step = 2, 7, 0
    transformer = family.transformer(dtype=torch.float64)
    attention = transformer.transformer_blocks[layer].attn1
    inputs, outputs, _ = record([attention])
    plan = {"merge": {"kind": "tome2d", "ratio": ratio, "layers": [2, 3]}, "seed": seed}
    dit_accel.accelerate(transformer, plan)
    with torch.no_grad(), dit_accel.run(transformer, timesteps=1):
        latents = torch.randn(2, 4, 8, 8, dtype=torch.float64)
        family.predict(transformer, latents, 500, family.condition((1, 2), torch.float64))
    dit_accel.restore(transformer)
    dst = draw_destinations(GRID, (2, 2), mix_seed(seed, layer, step)).dst.tolist()
    for x, got in zip(inputs[0][0], outputs[0][0], strict=True):
        projection = merge_matrix(x, dst, round(64 * ratio))
        # One row a group: what every member of it holds.
        merged = projection @ x
        first = {tuple(row.tolist()): index for index, row in reversed(list(enumerate(projection)))}
        rows = sorted(first.values())
        assert len(rows) == 64 - round(64 * ratio)
        with torch.no_grad():
            attended = attend(attention, merged[rows], merged[rows])
        place = [rows.index(first[tuple(row.tolist())]) for row in projection]
        torch.testing.assert_close(got, attended[place], rtol=1e-9, atol=1e-9)


@every_family
def test_feed_forward_equals_merge_transform_unmerge(family: TinyFamily) -> None:
    transformer = family.transformer(dtype=torch.float64)
    feed_forward = transformer.transformer_blocks[1].ff
    inputs, outputs, _ = record([feed_forward])
    merge = {"kind": "tome2d", "ratio": 0.5, "layers": [1, 2], "at": ["feed_forward"]}
    dit_accel.accelerate(transformer, {"merge": merge})
    with torch.no_grad(), dit_accel.run(transformer, timesteps=1):
        latents = torch.randn(2, 4, 8, 8, dtype=torch.float64)
        family.predict(transformer, latents, 500, family.condition((1, 2), torch.float64))
        dit_accel.restore(transformer)
        dst = draw_destinations(GRID, (2, 2), mix_seed(0, 1, 0)).dst.tolist()
        for x, got in zip(inputs[0][0], outputs[0][0], strict=True):
            expected = feed_forward(merge_matrix(x, dst, 32) @ x)
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


Draws = Callable[..., list[Any]]


@pytest.fixture(params=FAMILIES)
def draws(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Draws:
    """(seed, layer, step) of every draw in a run of a model of four layers."""
    family, found = FAMILIES[request.param], []
    original = tome2d_merge.mix_seed

    def recorded(*parts: int) -> int:
        found.append(parts)
        return original(*parts)

    def drawn(merge: dict[str, Any], steps: int) -> list[Any]:
        transformer = family.transformer()
        dit_accel.accelerate(transformer, {"merge": {"kind": "tome2d", **merge}, "seed": 5})
        with dit_accel.run(transformer, timesteps=steps):
            family.denoise(transformer, steps=steps)
        return found

    monkeypatch.setattr(tome2d_merge, "mix_seed", recorded)
    return drawn


def test_destinations_derive_from_seed_layer_and_step(draws: Draws) -> None:
    expected = [(5, layer, step) for step in range(3) for layer in range(4)]
    assert draws({}, steps=3) == expected


def test_a_matching_is_shared_by_layers_and_steps(draws: Draws) -> None:
    """The first layer of a group gives the seed, at every step alike."""
    found = draws({"reuse_layers": 2, "reuse_steps": 2}, steps=5)
    assert found == [(5, layer, step) for step in (0, 2, 4) for layer in (0, 2)]


def test_attention_and_feed_forward_of_a_layer_share_a_matching(draws: Draws) -> None:
    found = draws({"at": ["attention", "feed_forward"], "layers": [1, 3]}, steps=2)
    assert found == [(5, layer, step) for step in range(2) for layer in (1, 2)]


def test_shared_matchings_are_made_once(draws: Draws, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    original = tome2d_merge.match_bipartite

    def counted(metric: Any, *args: Any) -> Any:
        made.append(len(metric))
        return original(metric, *args)

    monkeypatch.setattr(tome2d_merge, "match_bipartite", counted)
    draws({"reuse_layers": 4, "at": ["attention", "feed_forward"]}, steps=3)
    assert made == [6, 6, 6]


def cell(fraction: float = 0.0, grid: Grid = GRID) -> Cell:
    return Cell(0, 4, round(10 * fraction), 11, fraction, grid)


@pytest.mark.parametrize(
    ("ratio", "grid", "expected"),
    [(0.5, GRID, 32), (0.0, GRID, 0), (0.01, GRID, 0), (0.26, GRID, 16), (0.5, Grid(3, 3), 4)],
)
def test_the_number_merged_comes_in_steps(ratio: float, grid: Grid, expected: int) -> None:
    operator = Tome2dMerge(ratio=ratio).operator(cell(grid=grid))
    assert (operator.num_merged if operator else 0) == expected


def test_a_scheduled_ratio_makes_few_shapes() -> None:
    config = Tome2dMerge(ratio={"schedule": "linear", "start": 0.7, "end": 0.1})
    operators = [config.operator(cell(step / 50, Grid(32, 32))) for step in range(51)]
    counts = [operator.num_merged for operator in operators if operator]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) <= 21


def test_more_than_a_window_holds_is_refused() -> None:
    with pytest.raises(PlanError, match=r"0\.75.*stride"):
        Tome2dMerge(ratio=0.8)
    assert Tome2dMerge(ratio=0.8, stride=(4, 2)).ratio.scalar(0) == 0.8
