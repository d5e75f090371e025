"""The step × layer grid, in a terminal and as a picture."""

import io
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from dit_accel import Plan
from dit_accel.measure.architectures import load_architecture
from dit_accel.measure.explain import Explanation, explain
from dit_accel.measure.plan_macs import Workload
from dit_accel.reporting.explain_table import explain_table
from dit_accel.reporting.step_grid import cell_kinds, save_grid_png, terminal_grid

PLAN = {
    "cache": {"policy": {"kind": "interval", "interval": 2}},
    "merge": {
        "kind": "tome2d",
        "ratio": {"schedule": "linear", "start": 0.5, "end": 0.25},
        "layers": [2, 6],
    },
}


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    return explain(load_architecture("DiT-XL-2-256"), Plan.load(PLAN), Workload(5))


def text_of(*renderables: object) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(*renderables)
    return console.export_text()


def test_cells_that_differ_in_numbers_alone_are_one_kind(explanation: Explanation) -> None:
    kinds, names = cell_kinds(explanation)
    assert names == ["dense", "forecast", "merge 128 … merge 64"]
    assert kinds[0] == [0, 0, 2, 2, 2, 2] + [0] * 22
    assert kinds[1] == [1] * 28


def test_terminal_grid_has_a_line_a_step_and_a_legend(explanation: Explanation) -> None:
    text = text_of(terminal_grid(explanation))
    assert text.count("██▓▓▓▓" + "█" * 22) == 3 and text.count("░" * 28) == 2
    assert "merge 128 … merge 64" in text and "forecast" in text


def test_table_says_what_is_saved(explanation: Explanation) -> None:
    text = text_of(explain_table(explanation))
    assert "118.7 G MACs (one row)" in text and "fewer" in text and "beware" not in text


def test_table_warns_of_guidance_computed_of_forecast_blocks() -> None:
    interval = {"kind": "interval", "interval": 3}
    caches = [{"site": "deep", "policy": "interval"}, {"site": "guidance", "policy": interval}]
    found = explain(load_architecture("dit-photos"), Plan.load({"cache": caches}), Workload(8))
    assert "forecast, in the steps 3" in " ".join(text_of(explain_table(found)).split())


def test_picture(explanation: Explanation, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "grid.png"
    save_grid_png(explanation, path)
    with Image.open(path) as picture:
        assert picture.width > 400
