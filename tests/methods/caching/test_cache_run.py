"""Which rows are computed, how they are packed, and where their results go."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.cache_run import CacheRun

CPU = torch.device("cpu")
INTERVAL = CacheConfig(policy="interval")
REUSE = CacheConfig(policy="interval", predictor="reuse")


def first_block(threshold: float, **fields: Any) -> CacheConfig:
    policy = {"kind": "first_block", "threshold": threshold}
    return CacheConfig(policy=policy, predictor="reuse", **fields)


def opened(config: CacheConfig, samples: int, rows_per_sample: int = 1) -> CacheRun:
    """A run whose first step was computed, with residuals of one everywhere."""
    run = CacheRun(config, samples, rows_per_sample, None, [range(0, 2)])
    step(run, 0, [True] * samples, torch.zeros(samples * rows_per_sample, 2, 3))
    return run


def step(
    run: CacheRun,
    index: int,
    need: list[bool],
    x: torch.Tensor,
    rows: range | None = None,
    adds: float = 1.0,
) -> torch.Tensor:
    """One step of a span that adds to the rows it computes."""
    run.begin_step(index, 0.0, None, rows)
    run.choose(need, CPU)
    ring = run.memory.rings[0]
    if run.mode == "none":
        return run.forecast(ring, x)
    return run.close_span(ring, run.open_span(ring, x) + adds)


@settings(max_examples=60, deadline=None)
@given(need=st.lists(st.booleans(), min_size=1, max_size=9), rows_per_sample=st.integers(1, 2))
def test_every_row_gets_its_own_result(need: list[bool], rows_per_sample: int) -> None:
    samples = len(need)
    run = opened(REUSE, samples, rows_per_sample)
    x = torch.arange(samples * rows_per_sample, dtype=torch.float32)[:, None, None].expand(-1, 2, 3)
    torch.testing.assert_close(step(run, 1, need, x), x + 1.0)


@settings(max_examples=60, deadline=None)
@given(need=st.lists(st.booleans(), min_size=1, max_size=40), rows_per_sample=st.integers(1, 2))
def test_rows_are_padded_to_few_capacities(need: list[bool], rows_per_sample: int) -> None:
    run = opened(REUSE, len(need), rows_per_sample)
    step(run, 1, need, torch.zeros(len(need) * rows_per_sample, 2, 3))
    count, samples = sum(need), len(need)
    room = [0, -(-samples // 4), -(-samples // 2), samples]
    assert run.computed_rows == rows_per_sample * next(size for size in room if size >= count)
    assert run.mode == ("all" if count == samples else "some" if count else "none")


def test_rows_that_were_not_computed_keep_their_history() -> None:
    run = opened(INTERVAL, 2)
    zeros = torch.zeros(2, 2, 3)
    step(run, 1, [True, False], zeros, adds=3.0)
    got = step(run, 2, [False, False], zeros)
    # The first sample went 1, 3 at the steps 0, 1; the second was only ever seen at step 0.
    assert got[:, 0, 0].tolist() == [5.0, 1.0]
    assert [timeline.steps for timeline in run.memory.timelines] == [(1, 0), (0,)]


def test_arguments_with_one_entry_a_row_are_selected() -> None:
    run = opened(INTERVAL, 4, rows_per_sample=2)
    run.begin_step(1, 0.0, None)
    run.choose([False, True, False, False], CPU)
    arguments = {
        "timestep": torch.arange(8),
        "class_labels": torch.arange(8, 16),
        "shared": torch.arange(3),
        "other": torch.arange(8),
        "none": None,
    }
    chosen = run.select(arguments, ("timestep", "class_labels", "shared", "none"))
    assert chosen["timestep"].tolist() == [1, 5]
    assert chosen["class_labels"].tolist() == [9, 13]
    assert chosen["shared"] is arguments["shared"] and chosen["other"] is arguments["other"]
    assert chosen["none"] is None


def decide(run: CacheRun, hidden_states: torch.Tensor) -> None:
    """Decide on the first block's output and compute what is needed, which adds one."""
    run.decide(hidden_states)
    if run.mode != "none":
        ring = run.memory.rings[1]
        run.close_span(ring, run.open_span(ring, hidden_states) + 1.0)


def test_a_follower_takes_the_decision_of_its_leader() -> None:
    config, spans = first_block(0.1), [range(1, 2)]
    leader = CacheRun(config, 2, 1, None, spans)
    follower = CacheRun(config, 2, 1, leader, spans)
    for index, scale in enumerate(([1.0, 1.0], [1.0, 2.0])):
        for run, factor in ((leader, torch.tensor(scale)), (follower, torch.tensor([3.0, 3.0]))):
            run.begin_step(index, 0.0, None)
            run.first_input = torch.zeros(2, 2, 3)
            decide(run, torch.ones(2, 2, 3) * factor[:, None, None])
    assert leader.need == follower.need == [False, True]


@pytest.mark.parametrize(("threshold", "need"), [(0.5, [True]), (1.5, [False])])
def test_the_reference_is_that_of_the_last_computed_step(
    threshold: float, need: list[bool]
) -> None:
    run = CacheRun(first_block(threshold), 1, 1, None, [range(1, 2)])
    for index, value in enumerate((1.0, 1.4, 2.0)):
        run.begin_step(index, 0.0, None)
        run.first_input = torch.zeros(1, 2, 3)
        decide(run, torch.full((1, 2, 3), value))
    assert run.need == need


def test_a_step_that_has_begun_does_not_hold_the_decision_of_the_one_before() -> None:
    """The blocks are prepared before a first-block cache decides."""
    run = opened(REUSE, 3)
    step(run, 1, [False] * 3, torch.zeros(3, 2, 3))
    assert run.mode == "none"
    run.begin_step(2, 0.0, None)
    assert run.mode == "all"


def test_rows_that_are_absent_keep_their_history() -> None:
    """The second half of the rows is left out of a step, as unconditional rows may be."""
    run, half = opened(INTERVAL, 2, rows_per_sample=2), torch.zeros(2, 2, 3)
    step(run, 1, [True, True], half, rows=range(0, 2), adds=3.0)
    assert [timeline.steps for timeline in run.memory.timelines] == [(1, 0), (1, 0), (0,), (0,)]
    got = step(run, 2, [False, False], torch.zeros(4, 2, 3))
    assert got[:, 0, 0].tolist() == [5.0, 5.0, 1.0, 1.0]
    got = step(run, 3, [False, True], half, rows=range(2, 4), adds=4.0)
    assert got[:, 0, 0].tolist() == [1.0, 4.0]
    assert run.memory.timelines[3].steps == (3, 0) and run.memory.timelines[1].steps == (1, 0)


def test_snapshots_are_written_where_they_were_allocated() -> None:
    run = opened(CacheConfig(policy="interval", predictor={"kind": "polynomial", "order": 2}), 2)
    buffer = run.memory.rings[0].buffer
    assert buffer is not None
    address, zeros = buffer.data_ptr(), torch.zeros(2, 2, 3)
    for index in range(1, 6):
        step(run, index, [True, index % 2 == 0], zeros, adds=float(index))
        weights = run.memory.weights
    step(run, 6, [False, False], zeros)
    assert run.memory.rings[0].buffer is buffer and buffer.data_ptr() == address
    assert weights is not None and run.memory.weights is not None
    assert weights.data_ptr() == run.memory.weights.data_ptr()
    kept = sorted(buffer[:, 0, 0, 0].tolist()), sorted(buffer[:, 1, 0, 0].tolist())
    assert kept == ([3.0, 4.0, 5.0], [1.0, 2.0, 4.0])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e6])
def test_the_guard_computes_the_sample_whose_forecast_runs_away(bad: float) -> None:
    """The second sample's snapshots are spoilt; the first does not notice."""
    config = CacheConfig(policy="interval", guard=4.0)
    run = opened(config, 2)
    step(run, 1, [True, True], torch.zeros(2, 2, 3))
    buffer = run.memory.rings[0].buffer
    assert buffer is not None
    buffer[:, 1, 0, 0] = bad
    run.begin_step(2, 0.0, None)
    run.follow_plan(False, CPU)
    assert (run.need, run.guarded, run.mode) == ([False, True], [False, True], "some")
    run.begin_step(3, 0.0, None)
    run.follow_plan(True, CPU)
    assert run.guarded == [False, False]


def test_all_rows_are_computed_where_that_is_asked_for() -> None:
    config = CacheConfig(policy="interval", predictor="reuse", deterministic=True)
    run = opened(config, 8)
    x = torch.arange(8.0)[:, None, None].expand(-1, 2, 3)
    got = step(run, 1, [False, True] + [False] * 6, x, adds=2.0)
    assert run.computed_rows == 8
    assert (got - x)[:, 0, 0].tolist() == [1, 2, 1, 1, 1, 1, 1, 1]
