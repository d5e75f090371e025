"""What a cache's machinery costs on the shipped models: ``results/caching/costs.md`` and ``.json``.

``python scripts/cache_costs.py`` takes 18 minutes of two quiet cores. A forecast step relative
to a full one, plans that never skip, and speed-up measured ÷ MACs, at batch 1 and 8.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dit_accel.cli.progress import progress_bar
from dit_accel.evaluation.cache_costs import measure_cache_costs, total_calls
from dit_accel.measure.architectures import load_architecture
from dit_accel.reporting.cache_costs_markdown import cache_costs_markdown
from dit_accel.runs.atomic import atomic_write, write_json_atomically
from dit_accel.sampling.loading import default_device, pipeline_folder
from dit_accel.sampling.sample_config import DataConfig

ROOT = Path(__file__).resolve().parents[1]


def main(
    model: Annotated[
        list[str] | None, typer.Option(help="a shipped model or a folder; repeat for several")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="measured rounds, interleaved")] = 5,
    output: Annotated[Path, typer.Option(help="report without its suffix")] = ROOT
    / "results"
    / "caching"
    / "costs",
) -> None:
    """Measure, then write the report."""
    models = model or ["dit-photos", "pixart-photos"]
    documents = []
    with progress_bar("measuring", len(models) * total_calls(rounds)) as advance:
        for name in models:
            documents.append(
                measure_cache_costs(
                    name, _data(name), rounds=rounds, device=default_device(), advance=advance
                )
            )
    write_json_atomically(output.with_suffix(".json"), documents)
    with atomic_write(output.with_suffix(".md")) as file:
        file.write(cache_costs_markdown(documents).encode())
    print(f"report: {output.with_suffix('.md')}")


def _data(model: str) -> DataConfig:
    architecture = load_architecture(pipeline_folder(model))
    texts = architecture.is_text_conditional
    return DataConfig(prompts="photos") if texts else DataConfig(labels="balanced")


if __name__ == "__main__":
    typer.run(main)
