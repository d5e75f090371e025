"""One honest sentence a plan: how much faster, how near to dense, and whether it was worth it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dit_accel.reporting.run_report import figures
from dit_accel.reporting.run_report.dense_front import EqualTime, Outcome, at_equal_time
from dit_accel.reporting.run_report.model import Report, Run, macs_ratio, speed_up
from dit_accel.reporting.run_report.scores import (
    DIFFERENCE,
    DISTRIBUTION,
    PAIRED,
    Score,
    comparable,
    resolution,
    tied,
)

RULE = (
    "At equal time means: against the best dense run that takes as long, interpolated linearly in "
    "the logarithm of time between all dense runs of this report, whatever their solver. "
    "Differences that are no larger than the intervals of both together are called ties."
)


_NOTABLE_SPARE_TIME = 0.05
_WORDS: dict[Outcome, str] = {
    "wins": "beats fewer steps",
    "ties": "tie with fewer steps",
    "loses": "loses to fewer steps",
    "unresolved": "no interval, no verdict",
    "unrivalled": "no dense run as fast",
}


@dataclass(frozen=True)
class Verdict:
    """How a plan stands beside dense with fewer steps, by one metric."""

    metric: str
    outcome: Outcome

    @property
    def words(self) -> str:
        """The outcome as a reader may quote it."""
        return _WORDS[self.outcome]


@dataclass(frozen=True)
class Headline:
    """The sentence of one plan (without its name, which comes before it) and its verdicts."""

    run: Run
    sentence: str
    verdicts: tuple[Verdict, ...]


def leading_scores(report: Report) -> tuple[Score, ...]:
    """The scores that speak for the runs: one against real pictures, one against the baseline."""
    found = (_widest(report, DISTRIBUTION), _widest(report, PAIRED))
    return tuple(score for score in found if score is not None)


def _widest(report: Report, metrics: Sequence[str]) -> Score | None:
    """The first of ``metrics`` that a plan has; of its columns the one that most runs share."""
    scores = [score for run in (*report.plans, *report.dense) for score in run.scores]
    for metric in metrics:
        found = [score for score in scores if score.column.metric == metric]
        if found:
            return max(found, key=lambda like: sum(comparable(like, score) for score in found))
    return None


def headlines(report: Report) -> tuple[Headline, ...]:
    """One for every plan, in the order of the runs."""
    leading = leading_scores(report)
    return tuple(_headline(report, plan, leading) for plan in report.plans)


def _headline(report: Report, plan: Run, leading: Sequence[Score]) -> Headline:
    # Of runs that share seeds the paired difference tells more apart than the scores themselves.
    sharper = [score for score in plan.scores if score.column.metric == DIFFERENCE]
    compared = (at_equal_time(report, plan, like) for like in (*leading, *sharper))
    beside = [found for found in compared if found is not None]
    fidelity = [text for like in leading if (text := _fidelity(report, plan, like))]
    parts = [
        _speed(report.start(plan), plan),
        _list(fidelity) or "no score says yet how near it stays",
    ]
    told = f"{parts[0]}: {parts[1]}{_same_seeds(plan)}{_equal_time(plan, beside)}"
    sentence = f"({plan.method}; {plan.solver}) {told}."
    verdicts = tuple(Verdict(item.score.name, item.outcome) for item in beside)
    return Headline(plan, sentence, verdicts)


def _speed(start: Run | None, plan: Run) -> str:
    base = "dense" if start is None else start.label
    faster, fewer = speed_up(start, plan), macs_ratio(start, plan)
    if faster is None:
        known = "" if fewer is None else f"needs {fewer:.2f}× fewer MACs than {base}, but "
        return f"{known}has no latency measured beside {base}"
    if _same_time(start, plan):
        return f"is no faster than {base} within the spread of the rounds ({faster:.2f}×)"
    if faster < 1:
        return f"is slower than {base} ({faster:.2f}×)"
    return f"is {faster:.2f}× as fast as {base}"


def _same_time(start: Run | None, plan: Run) -> bool:
    base, mine = None if start is None else start.latency, plan.latency
    if base is None or mine is None:
        return False
    return abs(base.seconds - mine.seconds) <= (base.spread + mine.spread) / 2


def _fidelity(report: Report, plan: Run, like: Score) -> str:
    """The plan's score, beside that of the dense run it starts from where it has one."""
    start, mine = report.start(plan), plan.score(like)
    base = None if start is None else start.score(like)
    if mine is None:
        return ""
    text = f"{mine.name} {figures.worded(mine, mine.value)}"
    if base is not None and math.isfinite(base.value) and not base.record.is_exact:
        text += f" against {figures.worded(mine, base.value)} ({_difference(mine, base)})"
    if not mine.is_paired or report.baseline is None:
        return text
    whose = "its" if start is report.baseline else f"{report.baseline.label}'s"
    return f"{text} to {whose} pictures"


def _difference(mine: Score, base: Score) -> str:
    if not comparable(mine, base):
        return f"not comparable: {_obstacle(mine, base)}"
    if tied(mine, base):
        return "a tie"
    word = "better" if mine.quality > base.quality else "worse"
    return f"{word}, though without an interval" if resolution(mine, base) is None else word


def _same_seeds(plan: Run) -> str:
    """Whether the plan differs from the baseline beyond the noise that their seeds do not share."""
    found = (score for score in plan.scores if score.column.metric == DIFFERENCE)
    score = next((s for s in found if s.is_rival and s.interval is not None), None)
    if score is None or score.interval is None:
        return ""
    low, high = score.interval
    verdict = "a tie" if low <= 0 <= high else "better" if high < 0 else "worse"
    ends = figures.interval(score, figures.decimals([score]))
    value = figures.worded(score, score.value)
    return f"; seed by seed, {score.name} is {value} ({ends}, {verdict})"


def _obstacle(mine: Score, base: Score) -> str:
    """Why two scores of one column are no rivals."""
    if mine.n != base.n:
        return f"N = {mine.n} and {base.n}"
    forced = mine.record.forced or base.record.forced
    return "a score that was forced" if forced else "pictures of a set that is not complete"


def _equal_time(plan: Run, beside: Sequence[EqualTime]) -> str:
    if not beside:
        return ""
    if all(item.outcome == "unrivalled" for item in beside):
        return "; no dense run was measured to be as fast, so nothing is there to compare with"
    told = [_beside(plan, item) for item in beside if item.dense_value is not None]
    return f"; in the same time dense with fewer steps reaches {_list(told)}"


def _beside(plan: Run, item: EqualTime) -> str:
    assert item.dense_value is not None and item.difference is not None
    difference = figures.worded(item.score, abs(item.difference))
    words: dict[Outcome, str] = {
        "ties": "a tie",
        "wins": f"{plan.label} wins by {difference}",
        "loses": f"{plan.label} loses by {difference}",
        "unresolved": f"{difference} apart, without an interval",
    }
    text = f"{item.score.name} {figures.worded(item.score, item.dense_value)}"
    return f"{text} ({words[item.outcome]}{_unmeasured(plan, item)})"


def _unmeasured(plan: Run, item: EqualTime) -> str:
    """Said where dense might have used more time than any run that was measured."""
    assert plan.latency is not None
    share = item.spare / plan.latency.seconds
    if share < _NOTABLE_SPARE_TIME:
        return ""
    return f", but no dense run of its time was scored, only one that takes {share:.0%} less"


def _list(items: Sequence[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
