"""What ``generate`` prints and leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from dit_accel.reporting import units
from dit_accel.reporting.image_grid import image_grid, save_images
from dit_accel.sampling.comparison import DENSE, FEWER_STEPS, PLAN, Comparison
from dit_accel.sampling.loading import pipeline_labels


def comparison_table(comparison: Comparison) -> Table:
    """dense | plan | dense with fewer steps: seconds, speed-up, MACs, PSNR, SSIM."""
    config = comparison.prepared.config
    images = f"{config.num_images} image{'s' * (config.num_images > 1)}"
    table = Table(
        title=f"{config.model}, {config.scheduler}, {images}, {config.dtype}",
        caption="seconds: median of the denoising loop; PSNR and SSIM: against dense, same seeds",
    )
    table.add_column("")
    for heading in ("steps", "seconds", "speed-up", "MACs", "PSNR, dB", "SSIM"):
        table.add_column(heading, justify="right")
    for name, row in comparison.rows.items():
        reference = name == DENSE
        table.add_row(
            _title(comparison, name),
            str(row.num_inference_steps),
            f"{row.timing.median:.2f} ± {row.timing.spread:.2f}",
            f"{comparison.speed_up(name):.2f}×",
            units.macs(row.macs),
            "–" if reference else units.decibels(row.fidelity.psnr_db),
            "–" if reference else f"{row.fidelity.ssim:.3f}",
        )
    return table


def _title(comparison: Comparison, name: str) -> str:
    plan = comparison.prepared.config.plan
    named = Path(plan).stem if isinstance(plan, str) else "plan"
    return {DENSE: "dense", PLAN: named, FEWER_STEPS: "dense, fewer steps"}[name]


def save_comparison(comparison: Comparison, folder: Path) -> None:
    """Write grid.png, images/<candidate>/<index>.png and report.json into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, row in comparison.rows.items():
        save_images(row.images, folder / "images" / name)
    rows = [(_title(comparison, name), comparison.rows[name].images) for name in (DENSE, PLAN)]
    image_grid(rows, _captions(comparison)).save(folder / "grid.png")
    (folder / "report.json").write_text(json.dumps(comparison_report(comparison), indent=2) + "\n")


def _captions(comparison: Comparison) -> list[str]:
    batch = comparison.prepared.batch
    if batch.prompts is not None:
        return list(batch.prompts)
    labels = batch.class_labels or ()
    names = {number: name for name, number in pipeline_labels(comparison.prepared.folder).items()}
    return [names.get(label, str(label)) for label in labels]


def comparison_report(comparison: Comparison) -> dict[str, Any]:
    """JSON-serialisable form of everything measured, with its provenance."""
    prepared = comparison.prepared
    return {
        "provenance": comparison.provenance,
        "config": prepared.config.model_dump(mode="json"),
        "plan": prepared.plan.to_dict(),
        "text_encoder_seconds": comparison.text_encoder_seconds,
        "candidates": {
            name: {
                "num_inference_steps": row.num_inference_steps,
                **row.timing.to_dict(),
                "speed_up": comparison.speed_up(name),
                "macs": row.macs,
                "macs_data_dependent": name == PLAN and prepared.cost.data_dependent,
                "autoencoder_seconds": row.decode_seconds,
                "to_dense": row.fidelity.to_dict(),
            }
            for name, row in comparison.rows.items()
        },
    }
