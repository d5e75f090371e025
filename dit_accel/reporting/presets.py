"""What was measured of the shipped presets, kept beside them so that it travels in the wheel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from dit_accel.presets import preset_names
from dit_accel.reporting import units
from dit_accel.resources import config_folder


def measured_path() -> Path:
    """Where the figures are kept; written by ``bench --record-presets``."""
    return config_folder("plans") / "measured.json"


def record_presets(report: dict[str, Any], path: Path) -> None:
    """Keep the figures of every shipped preset in a benchmark's report, with their provenance."""
    names = set(preset_names())
    rows = [row for row in report["rows"] if row["kind"] == "plan" and row["label"] in names]
    beats = {item["name"]: item["difference_db"] for item in report["verdicts"]}
    settings, provenance = report["settings"], report["provenance"]
    record = {
        "model": settings["model"],
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
    path.write_text(json.dumps(record, indent=2) + "\n")


def presets_table() -> Table:
    """One line a preset and measured run; ``not measured yet`` where there is none."""
    record = json.loads(measured_path().read_text()) if measured_path().is_file() else None
    table = Table(title="shipped plans", caption=_caption(record), box=SIMPLE)
    table.add_column("preset", no_wrap=True)
    table.add_column("run", no_wrap=True)
    for heading in ("speed-up", "MACs ÷", "PSNR, dB", "SSIM"):
        table.add_column(heading, justify="right")
    table.add_column("against fewer steps", justify="right")
    for name in preset_names():
        rows = [row for row in (record or {}).get("presets", []) if row["preset"] == name]
        for row in rows:
            table.add_row(name, *_cells(row))
        if not rows:
            table.add_row(name, *["–"] * 5, "not measured yet")
    return table


def _cells(row: dict[str, Any]) -> list[str]:
    difference = row["difference_db_at_equal_time"]
    return [
        f"{row['solver']} {row['num_inference_steps']}",
        f"{row['speed_up']:.2f}×",
        f"{row['mac_speed_up']:.2f}×",
        units.decibels(row["to_dense"]["psnr_db"]),
        f"{row['to_dense']['ssim']:.3f}",
        "faster than all" if difference is None else f"{difference:+.2f} dB",
    ]


def _caption(record: dict[str, Any] | None) -> str:
    if record is None:
        return "nothing measured yet; dit-accel bench --record-presets fills this in"
    gpus = record["hardware"]["gpus"]
    machine = gpus[0] if record["device"].startswith("cuda") and gpus else record["hardware"]["cpu"]
    return (
        f"{record['model']}, {record['num_images']} images, guidance {record['guidance_scale']}, "
        f"{record['dtype']}, {machine}, {record['date'][:10]}. PSNR and SSIM: to dense, same "
        "seeds. Against fewer steps: PSNR to the converged run, minus that of the best dense run "
        "of equal time."
    )
