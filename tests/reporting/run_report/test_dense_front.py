"""A plan beside dense with fewer steps of equal time: wins, ties, loses, or nothing to say."""

from __future__ import annotations

import dataclasses
import math

import pytest

from dit_accel.reporting.run_report.dense_front import at_equal_time, dense_front
from dit_accel.reporting.run_report.headlines import headlines, leading_scores
from dit_accel.reporting.run_report.model import Latency, Report, Run
from dit_accel.reporting.run_report.scores import Score


def leading(report: Report, metric: str) -> Score:
    return next(score for score in leading_scores(report) if score.column.metric == metric)


def changed(report: Report, name: str, metric: str | None = None, **changes: object) -> Report:
    """The report with another latency, or another score of one metric, in one run."""

    def change(run: Run) -> Run:
        if run.name != name:
            return run
        if metric is None:
            return dataclasses.replace(run, **changes)  # type: ignore[arg-type]
        scores = tuple(
            dataclasses.replace(score, record=dataclasses.replace(score.record, **changes))  # type: ignore[arg-type]
            if score.column.metric == metric
            else score
            for score in run.scores
        )
        return dataclasses.replace(run, scores=scores)

    return dataclasses.replace(report, runs=tuple(map(change, report.runs)))


def test_the_front_is_interpolated_in_the_logarithm_of_time(tidy_report: Report) -> None:
    front = dense_front(tidy_report, leading(tidy_report, "psnr"))
    assert [point.quality for point in front.points] == [41.0, 45.0]
    middle = math.sqrt(0.82 * 1.28)
    assert front.quality(middle) == pytest.approx(43.0)
    assert front.half_width(middle) == pytest.approx(0.5)
    assert front.quality(0.5) is None


def test_lower_is_better_where_the_metric_says_so(tidy_report: Report) -> None:
    front = dense_front(tidy_report, leading(tidy_report, "fd_ref"))
    assert [-point.quality for point in front.points] == [12.3, 12.0]


@pytest.mark.parametrize(
    ("plan", "metric", "outcome"),
    [
        ("balanced", "psnr", "wins"),
        ("balanced", "fd_ref", "ties"),
        ("fast", "psnr", "loses"),
        ("fast", "fd_ref", "loses"),
    ],
)
def test_outcomes(tidy_report: Report, plan: str, metric: str, outcome: str) -> None:
    run = next(run for run in tidy_report.runs if run.name == plan)
    found = at_equal_time(tidy_report, run, leading(tidy_report, metric))
    assert found is not None and found.outcome == outcome
    assert found.difference is not None and (found.difference > 0) == (outcome == "wins")


def test_faster_than_every_dense_run_is_no_victory(tidy_report: Report) -> None:
    report = changed(tidy_report, "fast", latency=Latency(0.1, 0.0, 3, 4))
    found = at_equal_time(report, report.runs[-1], leading(report, "psnr"))
    assert found is not None and found.outcome == "unrivalled" and found.difference is None
    assert "no dense run was measured to be as fast" in headlines(report)[-1].sentence


def test_without_intervals_there_is_no_verdict(tidy_report: Report) -> None:
    report = tidy_report
    for run in report.runs:
        report = changed(report, run.name, "fd_ref", interval=None)
    found = at_equal_time(report, report.runs[-1], leading(report, "fd_ref"))
    assert found is not None and found.outcome == "unresolved"
    assert "without an interval" in headlines(report)[-1].sentence


def test_other_numbers_of_pictures_are_not_compared(tidy_report: Report) -> None:
    report = changed(tidy_report, "fast", "fd_ref", n=7)
    assert at_equal_time(report, report.runs[-1], leading(report, "fd_ref")) is None
    assert "not comparable: N = 7 and 12" in headlines(report)[-1].sentence


def test_headlines_say_what_is_gained_and_what_is_lost(tidy_report: Report) -> None:
    quality, balanced, fast = (headline.sentence for headline in headlines(tidy_report))
    assert "1.97× as fast as dense DDIM 50" in balanced
    assert "FD-ref 12.20 against 12.10 (a tie)" in balanced and "50.00 dB" in balanced
    assert "balanced wins by" in balanced and "fast loses by" in fast
    assert "no dense run of its time was scored" in quality, "dense could have used more time"


def test_a_slower_plan_is_called_slower(tidy_report: Report) -> None:
    slower = changed(tidy_report, "fast", latency=Latency(3.0, 0.0, 3, 4))
    assert "is slower than dense DDIM 50" in headlines(slower)[-1].sentence
    same = changed(tidy_report, "fast", latency=Latency(2.49, 0.1, 3, 4))
    assert "is no faster than dense DDIM 50 within the spread" in headlines(same)[-1].sentence


def test_without_latency_only_the_macs_are_told(tidy_report: Report) -> None:
    untimed = changed(tidy_report, "fast", latency=None)
    sentence = headlines(untimed)[-1].sentence
    assert "fewer MACs than dense DDIM 50, but has no latency measured" in sentence
    assert not headlines(untimed)[-1].verdicts


def test_speed_is_told_against_the_dense_run_that_a_plan_starts_from(tidy_report: Report) -> None:
    dense_25 = tidy_report.runs[1]
    report = dataclasses.replace(tidy_report, baseline=dense_25)
    assert report.common_start is tidy_report.runs[0], "DDIM 50, as the plans"
    sentence = headlines(report)[1].sentence
    assert "as fast as dense DDIM 50" in sentence and "dense DDIM 25's pictures" in sentence


def test_forced_and_partial_scores_get_no_verdict(tidy_report: Report) -> None:
    for change, words in (
        ({"forced": True}, "not comparable: a score that was forced"),
        ({"complete": False}, "not comparable: pictures of a set that is not complete"),
    ):
        report = changed(tidy_report, "fast", "fd_ref", **change)
        assert at_equal_time(report, report.runs[-1], leading(report, "fd_ref")) is None
        assert words in headlines(report)[-1].sentence


def test_the_baseline_beside_itself_is_not_on_the_front(tidy_report: Report) -> None:
    like = leading(tidy_report, "psnr")
    own = {**(like.record.baseline or {}), "images": like.record.images["fingerprint"]}
    exact = dataclasses.replace(
        like, record=dataclasses.replace(like.record, value=99.0, baseline=own)
    )
    base = dataclasses.replace(tidy_report.runs[0], scores=(*tidy_report.runs[0].scores, exact))
    report = dataclasses.replace(tidy_report, runs=(base, *tidy_report.runs[1:]))
    assert max(point.quality for point in dense_front(report, like).points) == 45.0


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.2, 0.6), "0.40 (0.20–0.60, worse)"),
        ((-0.6, -0.2), "-0.40 (-0.60 to -0.20, better)"),
        ((-0.1, 0.3), "0.10 (-0.10 to 0.30, a tie)"),
    ],
)
def test_the_sharper_test_of_shared_seeds_is_told(
    tidy_report: Report, interval: tuple[float, float], words: str
) -> None:
    plan = tidy_report.runs[-1]
    like = plan.scores[0]
    record = dataclasses.replace(
        like.record,
        metric="fd_ref_delta",
        label="ΔFD-ref to dense_50 (N=12)",
        value=sum(interval) / 2,
        interval=interval,
    )
    delta = dataclasses.replace(
        like, record=record, column=dataclasses.replace(like.column, metric="fd_ref_delta")
    )
    plan = dataclasses.replace(plan, scores=(*plan.scores, delta))
    report = dataclasses.replace(tidy_report, runs=(*tidy_report.runs[:-1], plan))
    assert f"seed by seed, ΔFD-ref to dense_50 is {words}" in headlines(report)[-1].sentence
