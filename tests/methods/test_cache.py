"""What every cache remembers, and the weights it forecasts with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dit_accel.methods.cache import SpanMemory, Timeline
from dit_accel.methods.interval_cache import IntervalCache
from dit_accel.tokens.grid import Grid


def constant(value: float, rows: int = 2) -> torch.Tensor:
    return torch.full((rows, 3, 4), value)


@pytest.mark.parametrize(
    ("fields", "snapshots"),
    [
        ({"predictor": "reuse", "order": 3}, 1),
        ({"order": 0}, 1),
        ({"order": 1}, 2),
        ({"order": 3}, 4),
    ],
)
def test_an_order_needs_one_snapshot_more(fields: dict, snapshots: int) -> None:
    assert IntervalCache(**fields).snapshots == snapshots


def test_spans_cover_every_block_but_the_first_ones_once() -> None:
    assert IntervalCache(site="model").spans(5, 1) == [range(1, 5)]
    assert IntervalCache(site="block").spans(4, 1) == [range(1, 2), range(2, 3), range(3, 4)]


def test_snapshots_are_kept_newest_first_up_to_the_capacity() -> None:
    memory = SpanMemory()
    for value in range(4):
        memory.remember(constant(value), 3)
    assert [float(snapshot[0, 0, 0]) for snapshot in memory.snapshots] == [3, 2, 1]
    assert memory.nbytes == 3 * constant(0).nbytes


def test_rows_are_pushed_one_by_one() -> None:
    memory = SpanMemory()
    memory.remember(constant(1), 3)
    memory.remember_rows(constant(2), torch.tensor([True, False]))
    memory.remember_rows(constant(3), torch.tensor([True, True]))
    histories = torch.stack(memory.snapshots)[:, :, 0, 0]
    assert histories[:, 0].tolist() == [3, 2, 1]
    assert histories[:, 1].tolist() == [3, 1, 0]


def test_forecasts_are_weighted_row_by_row() -> None:
    memory = SpanMemory([constant(10), constant(1)])
    assert float(memory.forecast(torch.tensor([2.0, -1.0]))[0, 0, 0]) == 19
    columns = torch.tensor([[2.0, 1.0], [-1.0, 0.0]])
    assert memory.forecast(columns)[:, 0, 0].tolist() == [19, 10]


def test_a_timeline_holds_the_last_steps_of_one_grid() -> None:
    timeline = Timeline()
    for step in (0, 2, 5):
        timeline.record(step, None, 2)
    assert timeline.steps == [5, 2]
    timeline.record(7, Grid(4, 4), 2)
    assert timeline.steps == [7]
    timeline.record(8, Grid(4, 4), 2)
    assert timeline.steps == [8, 7]


def test_weights_are_padded_to_the_number_of_snapshots() -> None:
    timeline = Timeline([4, 1], [None, None])
    linear = timeline.weights(6, IntervalCache(order=2))
    np.testing.assert_allclose(linear, [1 + 2 / 3, -2 / 3, 0])
    reuse = Timeline([4], [None]).weights(6, IntervalCache(predictor="reuse"))
    np.testing.assert_allclose(reuse, [1])
