"""What was measured of our own presets, kept beside them so that it travels in the wheel.

Presets named after a paper are listed by what they are, without figures: `frontier` compares them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from dit_accel import reference_models
from dit_accel.methods.caching.cache import AXES
from dit_accel.plan import Plan
from dit_accel.presets import preset_names, published_names
from dit_accel.reporting import units
from dit_accel.resources import config_folder
from dit_accel.runs.atomic import atomic_write


def measured_path() -> Path:
    """Where the figures are kept; written by ``bench --record-presets``."""
    return config_folder("plans") / "measured.json"


def record_presets(report: dict[str, Any], path: Path) -> None:
    """Keep the figures of each of our presets in a benchmark's report, with their provenance.

    They take the place of what was kept of this model; figures of other models stay.

    Raises:
        RunFolderError: the file cannot be written.
    """
    # By the folder's name, so that a path to a shipped model and its name are the same model.
    model = Path(report["settings"]["model"]).resolve().name
    records = {**_records(path), model: _record(report)}
    with atomic_write(path) as file:
        file.write((json.dumps(records, indent=2) + "\n").encode())


def _record(report: dict[str, Any]) -> dict[str, Any]:
    names = set(preset_names(report["settings"]["model"]))
    rows = [row for row in report["rows"] if row["kind"] == "plan" and row["label"] in names]
    beats = {item["name"]: item["difference_db"] for item in report["verdicts"]}
    settings, provenance = report["settings"], report["provenance"]
    return {
        "num_images": settings["num_images"],
        "guidance_scale": settings["guidance_scale"],
        "dtype": settings["dtype"],
        "device": provenance["device"],
        "hardware": provenance["hardware"],
        "commit": provenance["commit"],
        "date": provenance["date"],
        "presets": [
            {
                "preset": row["label"],
                "plan": Plan.load(settings["plans"][row["label"]]).fingerprint,
                "solver": row["solver"],
                "num_inference_steps": row["num_inference_steps"],
                "speed_up": row["speed_up"],
                "mac_speed_up": row["mac_speed_up"],
                "to_dense": row["to_dense"],
                "difference_db_at_equal_time": beats.get(row["name"]),
            }
            for row in rows
        ],
    }


def presets_tables() -> list[Table]:
    """A table for each shipped model, and for each other one that presets were measured on."""
    records = _records(measured_path())
    models = dict.fromkeys([*reference_models.available(), *records])
    return [_table(model, records.get(model)) for model in models]


def published_table() -> Table:
    """One line for each cache of each preset that has a paper's setting."""
    table = _bare_table(
        title="presets named after a paper, as published",
        caption="not measured here: dit-accel bench NAME does, dit-accel frontier compares",
    )
    for heading in ("preset", *AXES):
        table.add_column(heading, no_wrap=True)
    for name in published_names():
        for number, cache in enumerate(Plan.load(name).cache):
            axes = [getattr(cache, axis).method for axis in AXES]
            table.add_row("" if number else name, *axes)
    return table


def _bare_table(title: str, caption: str) -> Table:
    return Table(
        title=title,
        caption=caption,
        box=SIMPLE,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )


def _records(path: Path) -> dict[str, dict[str, Any]]:
    """What was kept, by the name of the model; empty where nothing was."""
    records: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    return records


def _table(model: str, record: dict[str, Any] | None) -> Table:
    """One line a preset and measured run; ``unmeasured`` where there is none."""
    table = _bare_table(f"shipped plans on {model}", _caption(model, record))
    table.add_column("preset", no_wrap=True)
    table.add_column("run", no_wrap=True)
    for heading in ("speed-up", "MACs ÷", "PSNR, dB", "SSIM", "fewer steps, dB"):
        table.add_column(heading, justify="right", min_width=max(map(len, heading.split())))
    for name in preset_names(model):
        # Figures of a plan that has had this name before are not its own.
        own = (name, Plan.load(name).fingerprint)
        known = (record or {}).get("presets", [])
        rows = [row for row in known if (row["preset"], row["plan"]) == own]
        for row in rows:
            table.add_row(name, *_cells(row))
        if not rows:
            table.add_row(name, "unmeasured", *["–"] * 5)
    return table


def _cells(row: dict[str, Any]) -> list[str]:
    difference = row["difference_db_at_equal_time"]
    return [
        f"{row['solver']} {row['num_inference_steps']}",
        f"{row['speed_up']:.2f}×",
        f"{row['mac_speed_up']:.2f}×",
        units.decibels(row["to_dense"]["psnr_db"]),
        f"{row['to_dense']['ssim']:.3f}",
        "none as fast" if difference is None else f"{difference:+.2f}",
    ]


def _caption(model: str, record: dict[str, Any] | None) -> str:
    if record is None:
        return f"dit-accel bench --model {model} --record-presets measures them"
    gpus = record["hardware"]["gpus"]
    machine = gpus[0] if record["device"].startswith("cuda") and gpus else record["hardware"]["cpu"]
    return (
        f"{record['num_images']} images, guidance {record['guidance_scale']}, {record['dtype']}, "
        f"{machine}, {record['date'][:10]}. PSNR and SSIM: to dense, same seeds. Fewer steps: "
        "PSNR to the converged run, minus that of the best dense run of equal time."
    )
