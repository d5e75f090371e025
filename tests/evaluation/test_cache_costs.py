"""Costs of the machinery: the arithmetic by hand, and the script on a tiny model."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from dit_accel.evaluation import cache_costs
from dit_accel.evaluation.cache_costs import CASES, CostRow, Sort
from dit_accel.reporting.cache_costs_markdown import cache_costs_markdown

SCRIPT = Path(__file__).parents[2] / "scripts" / "cache_costs.py"


def row(sort: Sort, ratios: tuple[float, ...], mac_ratio: float = 1.0) -> CostRow:
    return CostRow(sort, "model", 8, 1.0, ratios, mac_ratio, 4096)


@pytest.mark.parametrize(
    ("sort", "ratio", "mac_ratio", "expected"),
    [
        # 2 full steps and 18 forecasts at a twentieth of one: 2.9 of 20.
        ("forecast", 2.9 / 20, 0.1, 0.05),
        ("never_skips", 1.03, 1.0, 0.03),
        # Half the MACs in five eighths of the time.
        ("static", 0.625, 0.5, 0.8),
        ("data_dependent", 0.625, 0.5, 0.8),
    ],
)
def test_figures_by_hand(sort: Sort, ratio: float, mac_ratio: float, expected: float) -> None:
    assert row(sort, (ratio,) * 3, mac_ratio).figure == pytest.approx((expected,) * 3)


def test_the_middle_half_is_in_order_where_the_figure_falls_with_time() -> None:
    middle, low, high = row("static", (0.5, 0.6, 0.7, 0.8, 0.9), 0.35).figure
    assert (middle, low, high) == pytest.approx((0.5, 0.35 / 0.8, 0.35 / 0.6))


def test_targets_are_judged_where_they_are_asked_for() -> None:
    rows = [row("forecast", (0.145,)), row("never_skips", (1.03,)), row("static", (0.5,), 0.5)]
    document = {
        "model": "tiny",
        "base": "UniPC 20",
        "guidance_scale": 1.5,
        "rounds": 1,
        "rows": [each.to_dict() for each in rows],
        "provenance": {},
    }
    page = cache_costs_markdown([document])
    assert "≤ 0.05: met" in page
    assert "+3.0 % (+3.0 % to +3.0 %) | ≤ 2 %: **missed**" in page
    assert "1.000 (1.000 to 1.000) | ≥ 0.9: met" in page


def test_every_sort_has_cases_and_no_two_share_a_name() -> None:
    assert {case.sort for case in CASES} == {"forecast", "never_skips", "static", "data_dependent"}
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.entry.plan.exact for case in CASES)


def test_the_script_writes_a_table_and_its_data(
    tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ("model", "model, interval 1", "guidance, interval 2", "first block, threshold 0.1")
    few = tuple(case for case in CASES if case.name in chosen)
    monkeypatch.setattr(cache_costs, "CASES", few)
    output = tmp_path / "caching" / "costs"
    main = runpy.run_path(str(SCRIPT))["main"]
    main(model=[str(tiny_pipeline)], rounds=1, output=output)
    [document] = json.loads(output.with_suffix(".json").read_text())
    assert [(each["name"], each["batch"]) for each in document["rows"]] == [
        (case.name, batch) for batch in (1, 8) for case in few
    ]
    forecast = document["rows"][0]
    assert forecast["mac_ratio"] == pytest.approx(0.1, abs=0.03)
    assert forecast["nbytes"] > 0 and len(forecast["ratios"]) == 1
    assert document["provenance"]["versions"]["torch"]
    page = output.with_suffix(".md").read_text()
    assert "A forecast step, as a share of a full one" in page and "≥ 0.8" in page
