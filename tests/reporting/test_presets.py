"""Figures of the presets: kept model by model, and listed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dit_accel import reference_models
from dit_accel.plan import Plan
from dit_accel.presets import preset_names, published_names
from dit_accel.reporting import presets


def report(model: str, speed_up: float = 2.0) -> dict[str, Any]:
    """As much of a benchmark's report as is kept: one preset, one plan of the user's, and dense."""
    row = {
        "kind": "plan",
        "solver": "UniPC",
        "num_inference_steps": 20,
        "speed_up": speed_up,
        "mac_speed_up": 2.5,
        "to_dense": {"psnr_db": 30.0, "ssim": 0.9},
    }
    rows = [
        {**row, "name": "dense, UniPC 20", "label": "dense", "kind": "dense"},
        {**row, "name": "fast, UniPC 20", "label": "fast"},
        {**row, "name": "mine.yaml, UniPC 20", "label": "mine.yaml"},
    ]
    return {
        "settings": {
            "model": model,
            "num_images": 4,
            "guidance_scale": 1.5,
            "dtype": "float32",
            "plans": {"fast": Plan.load("fast").to_dict(), "mine.yaml": {}},
        },
        "provenance": {
            "device": "cpu",
            "hardware": {"cpu": f"the CPU of {Path(model).name}", "gpus": []},
            "commit": "abc",
            "date": "2026-01-02T00:00:00+00:00",
        },
        "rows": rows,
        "verdicts": [{"name": "fast, UniPC 20", "difference_db": -1.25}],
    }


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "measured.json"
    monkeypatch.setattr(presets, "measured_path", lambda: path)
    return path


def listed(width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(*presets.presets_tables())
    return console.export_text()


def num_rows() -> int:
    """Of the tables of all shipped models, with nothing measured."""
    return sum(len(preset_names(model)) for model in reference_models.available())


def test_a_model_is_recorded_beside_the_others(measured: Path) -> None:
    presets.record_presets(report("dit-photos"), measured)
    first = json.loads(measured.read_text())["dit-photos"]
    presets.record_presets(report("pixart-photos", speed_up=1.5), measured)
    records = json.loads(measured.read_text())
    assert list(records) == ["dit-photos", "pixart-photos"]
    assert records["dit-photos"] == first
    assert [row["preset"] for row in first["presets"]] == ["fast"]
    assert first["presets"][0]["difference_db_at_equal_time"] == -1.25


def test_a_model_measured_again_takes_the_place_of_its_former_figures(measured: Path) -> None:
    for speed_up in (2.0, 3.0):
        presets.record_presets(report("dit-photos", speed_up), measured)
    presets.record_presets(report("somewhere/dit-photos", 4.0), measured)  # the same, by its path
    [record] = json.loads(measured.read_text()).values()
    assert [row["speed_up"] for row in record["presets"]] == [4.0]


def test_every_shipped_model_is_listed_with_every_preset(measured: Path) -> None:
    presets.record_presets(report("dit-photos"), measured)
    presets.record_presets(report("mine"), measured)
    tables = dict(
        zip(("dit", "pixart", "mine"), listed().split("shipped plans on")[1:], strict=True)
    )
    assert reference_models.available() == ("dit-photos", "pixart-photos")
    for model, table in zip(("dit-photos", "pixart-photos", "mine"), tables.values(), strict=True):
        assert all(name in table for name in preset_names(model))
    assert "2.00×" in tables["dit"] and "-1.25" in tables["dit"]
    assert "the CPU of dit-photos" in tables["dit"] and "the CPU of mine" in tables["mine"]
    assert tables["dit"].count("unmeasured") == len(preset_names("dit-photos")) - 1
    assert tables["pixart"].count("unmeasured") == len(preset_names("pixart-photos"))
    assert "--model pixart-photos --record-presets" in tables["pixart"]


def test_a_preset_that_was_chosen_anew_is_unmeasured(measured: Path) -> None:
    former = report("dit-photos")
    former["settings"]["plans"]["fast"] = {"cache": {"policy": {"kind": "interval"}}}
    presets.record_presets(former, measured)
    assert listed().count("unmeasured") == num_rows()


def test_what_no_dense_run_is_as_fast_as_says_so(measured: Path) -> None:
    fastest = report("dit-photos")
    fastest["verdicts"][0]["difference_db"] = None
    presets.record_presets(fastest, measured)
    assert "none as fast" in listed(120)


def test_a_terminal_of_80_columns_shows_every_column(measured: Path) -> None:
    presets.record_presets(report("dit-photos"), measured)
    tables = listed().splitlines()
    assert max(map(len, tables)) <= 80 and "…" not in listed()
    [row] = [line for line in tables if "2.00×" in line]
    assert row.split() == ["fast", "UniPC", "20", "2.00×", "2.50×", "30.00", "0.900", "-1.25"]


def test_nothing_recorded_yet_is_no_error(measured: Path) -> None:
    assert listed().count("unmeasured") == num_rows()


def test_figures_that_ship_are_of_presets_that_ship() -> None:
    records = json.loads(presets.measured_path().read_text())
    assert "dit-photos" in records
    for model, record in records.items():
        assert {row["preset"] for row in record["presets"]} <= set(preset_names(model))
        assert record["hardware"]["cpu"] and record["commit"] and record["date"]


def test_published_settings_are_a_table_of_their_own_without_figures(measured: Path) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(presets.published_table())
    text = console.export_text()
    rows = [line.split() for line in text.splitlines()]
    assert [row[0] for row in rows if row and row[0] in published_names()] == [*published_names()]
    assert ["taylorseer", "attention", "taylor", "interval"] in rows
    assert "not measured" in text and "unmeasured" not in text and "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert not any(name in listed() for name in published_names())


def test_published_settings_are_not_kept_beside_ours(measured: Path) -> None:
    of_paper = report("dit-photos")
    of_paper["rows"][1]["label"] = "fora"
    presets.record_presets(of_paper, measured)
    assert json.loads(measured.read_text())["dit-photos"]["presets"] == []
