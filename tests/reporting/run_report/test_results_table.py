"""The table of runs: best, ties, and what may not be compared."""

from __future__ import annotations

import dataclasses

from dit_accel.reporting.run_report.missing import missing
from dit_accel.reporting.run_report.model import Report
from dit_accel.reporting.run_report.results_table import NOT_COMPARABLE, Cell, results_table
from dit_accel.reporting.run_report.scores import Column, Score


def column(report: Report, title: str) -> dict[str, Cell]:
    table = results_table(report)
    [found] = [column for column in table.columns if column.title == title]
    return {run.name: cell for run, cell in zip(table.runs, found.cells, strict=True)}


def test_best_and_ties_of_a_score(tidy_report: Report) -> None:
    cells = column(tidy_report, "FD-ref")
    assert cells["dpm_25"].mark == "best" and cells["dpm_25"].text == "12.00"
    assert cells["balanced"].mark == "tie" and cells["fast"].mark == ""
    assert cells["fast"].detail == "14.50–15.30"
    assert column(tidy_report, "KID-ref")["fast"].detail == "±0.00040"


def test_times_within_their_spread_are_ties(tidy_report: Report) -> None:
    cells = column(tidy_report, "time an image")
    assert [name for name, cell in cells.items() if cell.mark] == ["dpm_16"]
    assert cells["dense_50"].text == "2.50 s" and cells["dense_50"].detail == "IQR 0.050 s"


def test_paired_scores_stand_under_the_run_they_refer_to(tidy_report: Report) -> None:
    groups = [group for group, _ in results_table(tidy_report).groups]
    assert groups[2:] == [
        "against ref-photos, N = 12",
        "against dense DDIM 50 on the same seeds, N = 12",
    ]
    assert column(tidy_report, "PSNR, dB")["dense_50"].text == "–"


def test_a_partial_set_is_labelled_and_never_best(untidy_report: Report) -> None:
    assert column(untidy_report, "N")["half made"].note == "partial, of 12"
    cell = column(untidy_report, "FD-ref")["half made"]
    assert "partial" in cell.note and cell.mark == "", "11.0 would be best"


def test_throughput_stands_in_for_latency_only_with_a_warning(untidy_report: Report) -> None:
    cells = column(untidy_report, "time an image")
    assert cells["half made"].note == NOT_COMPARABLE and not cells["half made"].mark


def test_what_is_missing_is_named_with_its_command(untidy_report: Report) -> None:
    found = {item.what: item.command for item in missing(untidy_report)}
    assert "half made: 7 of 12 images; scores are partial" in found
    command = found["unscored <b>: no scores"]
    assert command.startswith("dit-accel score '") and "--baseline '" in command
    assert "no latency measured on equal terms: half made" in found


def changed_score(report: Report, run: int, **changes: object) -> Report:
    """The report with other fields in the first score of one run."""
    [first, *others] = report.runs[run].scores
    record = dataclasses.replace(first.record, **changes)  # type: ignore[arg-type]
    scores = (dataclasses.replace(first, record=record), *others)
    runs = list(report.runs)
    runs[run] = dataclasses.replace(runs[run], scores=scores)
    return dataclasses.replace(report, runs=tuple(runs))


def test_a_forced_score_is_never_best(tidy_report: Report) -> None:
    report = changed_score(tidy_report, -1, value=1.0, interval=(0.9, 1.1), forced=True)
    cell = column(report, "FD-ref")["fast"]
    assert cell.mark == "" and cell.note == "forced"
    assert column(report, "FD-ref")["dpm_25"].mark == "best"


def test_every_score_whose_n_is_not_the_headings_says_so(tidy_report: Report) -> None:
    two = dataclasses.replace(tidy_report, runs=(tidy_report.runs[0], tidy_report.runs[-1]))
    report = changed_score(two, -1, n=40)
    assert "N = 12" in results_table(report).columns[-1].group
    assert column(report, "FD-ref")["fast"].note == "N = 40"


def test_an_infinite_psnr_says_how_many_pictures_are_identical(tidy_report: Report) -> None:
    report = changed_score(tidy_report, -1, value=None, interval=None, settings={"identical": 3})
    cell = column(report, "FD-ref")["fast"]
    assert (cell.text, cell.note) == ("∞", "3 of 12 identical")


def test_scores_by_prompts_stand_together_and_say_how_many_were_asked(tidy_report: Report) -> None:
    record = dataclasses.replace(
        tidy_report.runs[-1].scores[0].record, reference=None, settings={"prompts": 5}
    )
    scores = (Score(Column("prompt_part", None, ()), record),)
    run = dataclasses.replace(tidy_report.runs[-1], scores=scores)
    report = dataclasses.replace(tidy_report, runs=(run,))
    assert results_table(report).columns[-1].group == "against the prompts, N = 12"
    assert column(report, "FD-ref")["fast"].note == "asked of 5 of 12"
