"""Fidelity against time: dense with fewer steps as a line, plans as labelled points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dit_accel.reporting.run_report import figures
from dit_accel.reporting.run_report.axes import Axis, padded, padded_log
from dit_accel.reporting.run_report.dense_front import DenseFront, dense_front
from dit_accel.reporting.run_report.label_placement import Box, Label, Spot, place_labels, sampled
from dit_accel.reporting.run_report.model import Latency, Report, Run
from dit_accel.reporting.run_report.scores import Score, comparable

WIDE, NARROW = (640.0, 400.0), (368.0, 420.0)
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 14.0, 30.0, 44.0
_LONGEST_LABEL = 30
_RADIUS = 6.0


@dataclass(frozen=True)
class Point:
    """A run with a score and a time."""

    run: Run
    score: Score
    latency: Latency

    @property
    def seconds(self) -> tuple[float, float]:
        """The middle half of the rounds, around their median; seconds an image."""
        half = min(self.latency.spread / 2, 0.9 * self.latency.seconds)
        return self.latency.seconds - half, self.latency.seconds + half

    @property
    def values(self) -> tuple[float, float]:
        """The interval of the score; as wide as nothing where none was measured."""
        half = self.score.half_width or 0.0
        return self.score.interval or (self.score.value - half, self.score.value + half)

    @property
    def label(self) -> str:
        """Short enough for the plot."""
        return _short(self.run.label)


def _short(label: str) -> str:
    text = " ".join(label.split())
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"


@dataclass(frozen=True)
class Mark:
    """A point in pixels: its place, the ends of its two error bars, and its label."""

    x: float
    y: float
    across: tuple[float, float]
    upright: tuple[float, float]
    is_dense: bool
    title: str
    label: Label


@dataclass(frozen=True)
class Upright:
    """A line at the time of a run that has no score to stand at, and its label."""

    x: float
    label: Label


@dataclass(frozen=True)
class Plot:
    """Everything that the template draws, in pixels.

    Attributes:
        front: corners of the line through the dense runs.
        held: from its slowest corner on, what whoever has more time may still choose.
        baseline: the run that the others are compared with, which is exact by definition.
    """

    width: float
    height: float
    frame: Box
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    y_title: str
    front: list[Spot]
    held: list[Spot]
    baseline: Upright | None
    marks: list[Mark]
    summary: str


def plot_points(report: Report, like: Score) -> list[Point]:
    """The runs that can be drawn for the column of ``like``, with the same N alone."""
    return [
        Point(run, score, run.latency)
        for run in report.runs
        if run.latency is not None
        and (score := run.score(like)) is not None
        and comparable(score, like)
        and math.isfinite(score.value)
    ]


def pareto_plot(report: Report, like: Score, size: tuple[float, float]) -> Plot | None:
    """Lay out the plot of one score in ``size`` pixels; ``None`` with fewer than two points."""
    points = plot_points(report, like)
    if len(points) < 2:
        return None
    exact = _exact_baseline(report, points)
    frame = Box(_LEFT, _TOP, size[0] - _RIGHT, size[1] - _BOTTOM)
    x, y = _axes(points, exact, frame)
    front, held = _front_line(dense_front(report, like), like, x, y)
    marks, baseline = _labelled(points, exact, x, y, [*_along(front), *_along(held)], frame)
    return Plot(
        *size,
        frame=frame,
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        y_title=_y_title(report, like),
        front=front,
        held=held,
        baseline=baseline,
        marks=marks,
        summary=_summary(points, like),
    )


def _exact_baseline(report: Report, points: Sequence[Point]) -> tuple[float, str] | None:
    """Time and label of the baseline where it has no score, being what others are compared with."""
    base = report.baseline
    if base is None or base.latency is None or any(point.run is base for point in points):
        return None
    exact = (base.latency.seconds, f"{_short(base.label)} (exact)")
    return exact if points[0].score.is_paired else None


def _axes(
    points: Sequence[Point], exact: tuple[float, str] | None, frame: Box
) -> tuple[Axis, Axis]:
    times = [second for point in points for second in point.seconds]
    times += [] if exact is None else [exact[0]]
    values = [value for point in points for value in (*point.values, point.score.value)]
    x = Axis(*padded_log(times), frame.left, frame.right, logarithmic=True)
    return x, Axis(*padded(values), frame.bottom, frame.top)


def _front_line(front: DenseFront, like: Score, x: Axis, y: Axis) -> tuple[list[Spot], list[Spot]]:
    """Straight on the logarithmic axis, as the interpolation is; level beyond the slowest run."""
    sign = 1 if like.higher_is_better else -1
    line = [(x(point.seconds), y(sign * point.quality)) for point in front.points]
    return line, [line[-1], (x.end, line[-1][1])] if line else []


def _along(line: Sequence[Spot]) -> list[Spot]:
    return [spot for start, end in pairwise(line) for spot in sampled(start, end)]


def _labelled(
    points: Sequence[Point],
    exact: tuple[float, str] | None,
    x: Axis,
    y: Axis,
    lines: Sequence[Spot],
    frame: Box,
) -> tuple[list[Mark], Upright | None]:
    """Place all labels at once, so that none of them is in another's way."""
    centres = [(x(point.latency.seconds), y(point.score.value)) for point in points]
    texts = [(point.label, centre) for point, centre in zip(points, centres, strict=True)]
    obstacles = [*lines, *_bars(points, x, y), *_rims(centres)]
    if exact is not None:
        foot, head = (x(exact[0]), frame.bottom), (x(exact[0]), frame.top)
        texts.append((exact[1], (head[0], head[1] + 2 * _RADIUS)))
        obstacles += sampled(foot, head)
    labels = place_labels(texts, obstacles, frame)
    marks = [
        Mark(
            *centre,
            across=(x(point.seconds[0]), x(point.seconds[1])),
            upright=(y(point.values[0]), y(point.values[1])),
            is_dense=point.run.is_dense,
            title=_title(point),
            label=label,
        )
        for point, centre, label in zip(points, centres, labels, strict=False)
    ]
    return marks, None if exact is None else Upright(x(exact[0]), labels[-1])


def _bars(points: Sequence[Point], x: Axis, y: Axis) -> list[Spot]:
    """Along both error bars of every point."""
    spots: list[Spot] = []
    for point in points:
        cx, cy = x(point.latency.seconds), y(point.score.value)
        spots += sampled((x(point.seconds[0]), cy), (x(point.seconds[1]), cy))
        spots += sampled((cx, y(point.values[0])), (cx, y(point.values[1])))
    return spots


def _rims(centres: Sequence[Spot]) -> list[Spot]:
    offsets = (-_RADIUS, 0.0, _RADIUS)
    return [(cx + dx, cy + dy) for cx, cy in centres for dx in offsets for dy in offsets]


def _y_title(report: Report, like: Score) -> str:
    against = ""
    if like.is_paired and report.baseline is not None:
        against = f" to {report.baseline.label}"
    better = "higher is better ↑" if like.higher_is_better else "lower is better ↓"
    unit = f", {like.unit}" if like.unit else ""
    return f"{like.name}{against}{unit}, {better}"


def _title(point: Point) -> str:
    score, seconds = point.score, figures.seconds(point.latency.seconds)
    value = figures.worded(score, score.value)
    return f"{point.run.label} ({point.run.solver}): {score.name} {value}, {seconds} an image"


def _summary(points: Sequence[Point], like: Score) -> str:
    return f"{like.name} against seconds an image. " + "; ".join(_title(point) for point in points)
