"""Everything that both forms of a report show, worked out once."""

from __future__ import annotations

from dataclasses import dataclass

from dit_accel.reporting.run_report.collect import class_names
from dit_accel.reporting.run_report.headlines import Headline, headlines, leading_scores
from dit_accel.reporting.run_report.missing import Missing, missing
from dit_accel.reporting.run_report.model import Report
from dit_accel.reporting.run_report.origins import Facts, Tool, documents, run_facts, tools
from dit_accel.reporting.run_report.pareto_plot import NARROW, WIDE, Plot, pareto_plot
from dit_accel.reporting.run_report.plan_pictures import PlanPicture, plan_picture
from dit_accel.reporting.run_report.results_table import ResultsTable, results_table
from dit_accel.reporting.run_report.seed_grids import SeedGrid, seed_grid
from dit_accel.reporting.run_report.throughput_table import throughput_rows


@dataclass(frozen=True)
class ScorePlot:
    """One score against time, laid out for wide and for narrow screens."""

    metric: str
    wide: Plot
    narrow: Plot


@dataclass(frozen=True)
class Content:
    """The parts of a report, in the order in which they are shown."""

    report: Report
    headlines: tuple[Headline, ...]
    missing: tuple[Missing, ...]
    table: ResultsTable
    plots: tuple[ScorePlot, ...]
    grid: SeedGrid | None
    plans: tuple[PlanPicture, ...]
    throughput: list[list[str]]
    facts: Facts
    tools: tuple[Tool, ...]
    documents: list[tuple[str, str]]


def report_content(report: Report) -> Content:
    """Work out all parts; reads the pictures of the grid from the run folders."""
    return Content(
        report=report,
        headlines=headlines(report),
        missing=missing(report),
        table=results_table(report),
        plots=_plots(report),
        grid=seed_grid(report, class_names(report)),
        plans=tuple(plan_picture(run, run.explanation) for run in report.plans if run.explanation),
        throughput=throughput_rows(report),
        facts=run_facts(report),
        tools=tools(report),
        documents=documents(report),
    )


def _plots(report: Report) -> tuple[ScorePlot, ...]:
    plots = []
    for like in leading_scores(report):
        wide, narrow = (pareto_plot(report, like, size) for size in (WIDE, NARROW))
        if wide is not None and narrow is not None:
            plots.append(ScorePlot(like.column.metric, wide, narrow))
    return tuple(plots)
