"""Which rows are computed, how they are packed, and where their results go."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.methods.cache import CacheConfig, SpanMemory
from dit_accel.methods.cache_run import CacheRun
from dit_accel.methods.first_block_cache import FirstBlockCache
from dit_accel.methods.interval_cache import IntervalCache

CPU = torch.device("cpu")


def opened(config: CacheConfig, samples: int, rows_per_sample: int = 1) -> CacheRun:
    """A run whose first step was computed, with residuals of one everywhere."""
    run = CacheRun(config, samples, rows_per_sample, None)
    run.memories[0] = SpanMemory()
    step(run, 0, [True] * samples, torch.zeros(samples * rows_per_sample, 2, 3))
    return run


def step(run: CacheRun, index: int, need: list[bool], x: torch.Tensor) -> torch.Tensor:
    """One step of a span that adds one to the rows it computes."""
    run.begin_step(index, 0.0, None)
    run.choose(need, CPU)
    memory = run.memories[0]
    if run.mode == "none":
        return run.forecast(memory, x)
    return run.close_span(memory, run.open_span(memory, x) + 1.0)


@settings(max_examples=60, deadline=None)
@given(need=st.lists(st.booleans(), min_size=1, max_size=9), rows_per_sample=st.integers(1, 2))
def test_every_row_gets_its_own_result(need: list[bool], rows_per_sample: int) -> None:
    samples = len(need)
    run = opened(IntervalCache(predictor="reuse"), samples, rows_per_sample)
    x = torch.arange(samples * rows_per_sample, dtype=torch.float32)[:, None, None].expand(-1, 2, 3)
    torch.testing.assert_close(step(run, 1, need, x), x + 1.0)


@settings(max_examples=60, deadline=None)
@given(need=st.lists(st.booleans(), min_size=1, max_size=40), rows_per_sample=st.integers(1, 2))
def test_rows_are_padded_to_few_capacities(need: list[bool], rows_per_sample: int) -> None:
    run = opened(IntervalCache(predictor="reuse"), len(need), rows_per_sample)
    step(run, 1, need, torch.zeros(len(need) * rows_per_sample, 2, 3))
    count, samples = sum(need), len(need)
    room = [0, -(-samples // 4), -(-samples // 2), samples]
    assert run.computed_rows == rows_per_sample * next(size for size in room if size >= count)
    assert run.mode == ("all" if count == samples else "some" if count else "none")


def test_rows_that_were_not_computed_keep_their_history() -> None:
    run = opened(IntervalCache(order=1), 2)
    zeros = torch.zeros(2, 2, 3)
    run.begin_step(1, 0.0, None)
    run.choose([True, False], CPU)
    memory = run.memories[0]
    run.close_span(memory, run.open_span(memory, zeros) + 3.0)
    got = step(run, 2, [False, False], zeros)
    # The first sample went 1, 3 at the steps 0, 1; the second was only ever seen at step 0.
    assert got[:, 0, 0].tolist() == [5.0, 1.0]
    assert [timeline.steps for timeline in run.timelines] == [[1, 0], [0]]


def test_arguments_with_one_entry_a_row_are_selected() -> None:
    run = opened(IntervalCache(), 4, rows_per_sample=2)
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


def test_a_follower_takes_the_decision_of_its_leader() -> None:
    config = FirstBlockCache(threshold=0.1, predictor="reuse")
    leader = CacheRun(config, 2, 1, None)
    follower = CacheRun(config, 2, 1, leader)
    for index, scale in enumerate(([1.0, 1.0], [1.0, 2.0])):
        for run, factor in ((leader, torch.tensor(scale)), (follower, torch.tensor([3.0, 3.0]))):
            run.begin_step(index, 0.0, None)
            run.first_input = torch.zeros(2, 2, 3)
            run.memories.setdefault(1, SpanMemory([torch.ones(2, 2, 3)]))
            run.decide(torch.ones(2, 2, 3) * factor[:, None, None])
    assert leader.need == follower.need == [False, True]


@pytest.mark.parametrize(("threshold", "need"), [(0.5, [True]), (1.5, [False])])
def test_the_reference_is_that_of_the_last_computed_step(
    threshold: float, need: list[bool]
) -> None:
    run = CacheRun(FirstBlockCache(threshold=threshold, predictor="reuse"), 1, 1, None)
    run.memories[1] = SpanMemory([torch.ones(1, 2, 3)])
    for index, value in enumerate((1.0, 1.4, 2.0)):
        run.begin_step(index, 0.0, None)
        run.first_input = torch.zeros(1, 2, 3)
        run.decide(torch.full((1, 2, 3), value))
    assert run.need == need


def test_a_step_that_has_begun_does_not_hold_the_decision_of_the_one_before() -> None:
    """The blocks are prepared before a first-block cache decides."""
    run = opened(FirstBlockCache(predictor="reuse"), 3)
    step(run, 1, [False] * 3, torch.zeros(3, 2, 3))
    assert run.mode == "none"
    run.begin_step(2, 0.0, None)
    assert run.mode == "all"
