"""The best schedule of training-free pooling: which steps, which blocks, which grid.

Every combination is drawn on the selection seeds of a frontier and compared with the dense run of
the same solver and steps; those that no cheaper one equals are the front. What is there already is
not drawn again:

    python scripts/search_pooled.py --output results/density/pooled_search.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from dit_accel.cli.progress import progress_bar, quiet_diffusers
from dit_accel.evaluation.frontier.config import load_frontier
from dit_accel.evaluation.frontier.entries import EXACT, Entry
from dit_accel.evaluation.frontier.fields import read_base
from dit_accel.evaluation.frontier.prepare import PreparedFrontier, prepare_frontier
from dit_accel.evaluation.frontier.references import References
from dit_accel.evaluation.frontier.runners import Runners
from dit_accel.measure.architectures import load_architecture
from dit_accel.measure.candidates import Base
from dit_accel.measure.fidelity import image_psnr
from dit_accel.measure.pareto import Point, pareto_front
from dit_accel.measure.plan_macs import Workload, run_cost
from dit_accel.measure.provenance import provenance
from dit_accel.plan import Plan
from dit_accel.runs.atomic import write_json_atomically
from dit_accel.sampling.loading import default_device, load_pipeline

ROOT = Path(__file__).resolve().parents[1]
# Sides of a cell in tokens: 4 x 4, 8 x 8 and 12 x 12 of the 16 x 16 tokens of dit-photos.
POOLS = (4, 2, 4 / 3)
LAYERS = ((0.1, 0.9), (0.2, 0.8), (0.3, 0.7), (0.1, 0.5), (0.5, 0.9))
STEPS = ((0.0, 0.25), (0.0, 0.5), (0.0, 0.75), (0.0, 1.0), (0.5, 1.0))


def densities() -> Iterator[dict[str, Any]]:
    """Everything that is tried."""
    for pool in POOLS:
        for layers in LAYERS:
            for steps in STEPS:
                yield {"pool": pool, "layers": list(layers), "steps": list(steps)}


class Search:
    """Draws and counts plans on one dense run.

    Args:
        prepared: frontier whose selection seeds they are drawn on.
        base: solver and steps.
    """

    def __init__(self, prepared: PreparedFrontier, base: Base) -> None:
        config = prepared.config
        self._base, self._specs = base, prepared.specs
        pipe = load_pipeline(config.model, config.dtype, default_device())
        self._runners = Runners(
            pipe, prepared.timed_specs, config.guidance_scale, config.batch_size
        )
        self._dense = References(prepared, self._runners).images(base)
        self._architecture = load_architecture(config.model)
        self._workload = Workload(
            base.num_inference_steps,
            1,
            config.guidance_scale > 1,
            self._architecture.latent_size(None, None),
            self._architecture.default_text_tokens,
        )

    def measure(self, density: dict[str, Any]) -> dict[str, float]:
        """MACs as a share of the dense run's, and PSNR to its pictures, mean over the seeds."""
        plan = Plan.load({"density": {"kind": "pooled", **density}})
        cost = run_cost(self._architecture, plan, self._workload)
        exact = plan.model_copy(update={"exact": EXACT.exact})
        images = self._runners.images(Entry("plan", "pooled", self._base, exact), self._specs)
        decibels = torch.nan_to_num(image_psnr(images, self._dense), nan=0.0)
        return {
            "macs": cost.macs_plan_lower / cost.macs_dense,
            "psnr_db": float(decibels.mean()),
        }


def mark_front(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, cheapest first, with whether no cheaper one is as good."""
    front = pareto_front(Point(row["macs"], row["psnr_db"]) for row in rows)
    best = {(point.seconds, point.quality) for point in front}
    ordered = sorted(rows, key=lambda row: (row["macs"], -row["psnr_db"]))
    return [{**row, "best": (row["macs"], row["psnr_db"]) in best} for row in ordered]


def main(
    config: Annotated[Path, typer.Option(help="Frontier whose model and seeds are used.")] = ROOT
    / "configs/eval/density_dit_photos.yaml",
    base: Annotated[str, typer.Option(help="SOLVER:STEPS, one of its dense runs.")] = (
        "DPMSolver++:14"
    ),
    images: Annotated[int, typer.Option(min=2, help="Of the selection seeds.")] = 16,
    output: Annotated[Path, typer.Option(help="JSON file.")] = Path(
        "results/density/pooled_search.json"
    ),
) -> None:
    """Draw whatever has not been drawn yet, and print the front."""
    quiet_diffusers()
    changes = ["plans={}", "calibrated=[]", "peers=[]", f"selection_seeds.count={images}"]
    prepared = prepare_frontier(load_frontier(config, changes), selecting=True)
    settings = {"shared": prepared.shared, "base": base, "images": images}
    known: dict[str, Any] = json.loads(output.read_text()) if output.is_file() else {}
    rows = known["rows"] if known.get("settings") == settings else []
    done = [row["density"] for row in rows]
    missing = [density for density in densities() if density not in done]
    if missing:
        output.parent.mkdir(parents=True, exist_ok=True)
        search, made_by = Search(prepared, read_base(base)), provenance()
        with progress_bar("searching", len(missing)) as advance:
            for density in missing:
                rows = mark_front([*rows, {"density": density, **search.measure(density)}])
                document = {"settings": settings, "provenance": made_by, "rows": rows}
                write_json_atomically(output, document)
                advance("pooled")
    table = Table("pool", "layers", "steps", "MACs", "PSNR to dense, dB", title=base)
    for row in rows:
        if row["best"]:
            texts = [f"{row['density']['pool']:.3g}", *map(str, list(row["density"].values())[1:])]
            table.add_row(*texts, f"{row['macs']:.1%}", f"{row['psnr_db']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
