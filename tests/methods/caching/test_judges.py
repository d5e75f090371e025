"""Judges on worked numbers of scalar traces, and where their rows come and go."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dit_accel.methods.caching.judges.input_change import InputChangeJudge
from dit_accel.methods.caching.judges.judge import Judge, Moment
from dit_accel.methods.caching.judges.output_change import OutputChangeJudge
from dit_accel.methods.caching.judges.planned_skips import PlannedSkipsJudge
from dit_accel.methods.caching.judges.running_sums import RunningSums
from dit_accel.methods.caching.judges.verified import VerifiedJudge
from dit_accel.methods.caching.present_rows import SpanHistory
from dit_accel.methods.caching.timeline import RowTimeline


def field(*values: float) -> torch.Tensor:
    """One row a value, `[R, 2, 3, 2]` of it."""
    return torch.tensor(values)[:, None, None, None].expand(-1, 2, 3, 2)


def ask(judge: Judge[Any], signal: Any, step: int, rows: range, together: int = 1) -> list[bool]:
    """What is needed; and that is what is computed."""
    moment = Moment(step, 0.0, rows, together)
    need = judge.needed(signal, moment)
    judge.decided(signal, moment, None if need is None else need.repeat(together))
    return [True] * moment.num_samples if need is None else need.tolist()


def test_teacache_on_a_trace() -> None:
    judge = InputChangeJudge(1, lambda change: change, lambda _: 0.15)
    trace = (1.0, 1.1, 1.15, 1.30, 1.30, 1.40)
    found = [ask(judge, field(m)[..., 0], i, range(1)) for i, m in enumerate(trace)]
    # 0.1, 0.1455, 0.276; then anew 0, 0.077.
    assert [need for (need,) in found] == [True, False, False, True, False, False]


def test_teacache_takes_the_row_that_moved_more_of_those_that_are_there() -> None:
    judge = InputChangeJudge(4, lambda change: change, lambda _: 0.15)
    ask(judge, field(1.0, 1.0, 1.0, 1.0)[..., 0], 0, range(4), 2)
    assert ask(judge, field(1.0, 1.1, 1.2, 1.0)[..., 0], 1, range(4), 2) == [True, False]
    # The second rows are absent: the first of each sample speak alone.
    assert ask(judge, field(1.1, 1.21)[..., 0], 2, range(2)) == [False, True]
    assert ask(judge, field(1.1, 1.21, 1.2, 1.0)[..., 0], 3, range(4), 2) == [False, False]


def test_easycache_on_a_trace() -> None:
    """The output moves by 2 where the input moves by 1; later 0.1 of 2 is a tenth."""
    judge = OutputChangeJudge(1, lambda _: 0.14)
    inputs, outputs = (0.0, 1.0, 1.1, 1.15, 1.3), (0.0, 2.0, 2.0, 2.0, 2.0)
    found = []
    for step, (x, y) in enumerate(zip(inputs, outputs, strict=True)):
        found += ask(judge, field(x), step, range(1))
        judge.completed(torch.cat([field(y), field(9.0)], dim=1))  # a learned variance beside
    # k = 2: 0.1, then 0.15 is above the threshold; k is 0 from there, as the output rests.
    assert found == [True, True, False, True, False]


def test_easycache_knows_the_rows_that_another_cache_left_out() -> None:
    judge = OutputChangeJudge(2, lambda _: 0.15)
    for step, (x, y) in enumerate(((0.0, 0.0), (1.0, 2.0))):
        assert ask(judge, field(x, x), step, range(2), 2) == [True]
        judge.completed(field(y, y))
    moment = Moment(2, 0.0, range(1), 1)
    for _ in range(2):
        need = judge.needed(field(1.1, 1.1), moment)
        assert need is not None and need.tolist() == [False]


@pytest.mark.parametrize(("computed", "after"), [(None, True), ([False, True], False)])
def test_sums_start_anew_whoever_computed(computed: list[bool] | None, after: bool) -> None:
    sums = RunningSums(2)
    assert sums.add(torch.tensor([0.6, 0.6]), 1.0).tolist() == [False, False]
    sums.settle(None if computed is None else torch.tensor(computed))
    assert sums.add(torch.tensor([0.6, 0.6]), 1.0).tolist() == [not after, False]


def test_sums_outlive_rows_that_turn_out_to_be_samples() -> None:
    sums = RunningSums(2)
    sums.add(torch.tensor([0.6]), 1.0)
    sums.settle(torch.tensor([False, False]))
    assert sums.add(torch.tensor([0.3, 0.5]), 1.0).tolist() == [False, True]


def history(*computed: tuple[int, ...]) -> SpanHistory:
    """Two tokens a row that turn at each computed step; all rows alike but for their steps."""
    timelines = []
    for steps in computed:
        timeline = RowTimeline(3)
        for step in steps:
            timeline.record(step, None)
        timelines.append(timeline)
    # y = (0, 0), (1, 0), (1, 1): curvature sqrt 2, and twice as large at rest.
    turn = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    snapshots = torch.stack([turn, 2 * turn], dim=1)[:, None]  # [3, 1, 2 tokens, 2]
    return SpanHistory(timelines, [snapshots.expand(-1, len(computed), -1, -1)])


def test_worldcache_on_a_turn() -> None:
    """Chaotic is the slower token: kappa |v| is sqrt 2 for both, and sets the pace."""
    moments = [Moment(step, 0.0, range(1), 1) for step in range(3, 8)]
    for threshold, skips in ((1.0, 1), (1e9, 3)):
        judge = PlannedSkipsJudge(0.9, 3, lambda _, eta=threshold: eta)
        asked = [judge.needed(history((0, 1, 2)), moment) for moment in moments]
        found = [need.item() for need in asked if need is not None]
        assert found == [False] * skips + [True] * (5 - skips)


def test_worldcache_computes_what_it_knows_too_little_of() -> None:
    judge = PlannedSkipsJudge(0.8, 2, lambda _: 1e9)
    moment = Moment(4, 0.0, range(2), 1)
    assert judge.needed(history((0, 1), (2, 3)), moment) is None
    need = judge.needed(history((1, 2, 3), (2, 3)), moment)
    assert need is not None and need.tolist() == [False, True]
    # Two rows of one sample: the one of which less is known speaks.
    both = judge.needed(history((1, 2, 3), (2, 3)), Moment(4, 0.0, range(2), 2))
    assert both is None


def test_speca_on_a_trace() -> None:
    judge = VerifiedJudge(1, lambda _: 0.3, minimum=1, maximum=3)
    errors = (0.9, 0.1, 0.2, 0.1, 0.4, 0.4)
    found = [ask(judge, torch.tensor([e]), i, range(1)) for i, e in enumerate(errors)]
    # The first is accepted whatever it is, the fourth no more; then it begins anew.
    assert [need for (need,) in found] == [False, False, False, True, False, True]
