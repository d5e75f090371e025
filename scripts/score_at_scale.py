"""Fréchet distance, kernel distance and PRDC of 50,000 × 2048 features: time and memory.

``python scripts/score_at_scale.py`` writes ``results/score_at_scale.json`` and fails if more than
4 GB were needed. The features are random, which costs what real ones cost; the scores say nothing.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from dit_accel.measure.provenance import provenance
from dit_accel.metrics import FeatureStatistics, frechet_distance, kernel_distance, prdc
from dit_accel.runs.atomic import write_json_atomically

ROOT = Path(__file__).resolve().parents[1]
_CHUNK = 4096

Rows = NDArray[np.float32]


def peak_bytes() -> int:
    """Largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def random_features(n: int, dim: int, seed: int) -> Rows:
    """Features `[n, dim]` in float32, made in chunks so that nothing else takes memory."""
    generator = np.random.default_rng(seed)
    rows = np.empty((n, dim), dtype=np.float32)
    for start in range(0, n, _CHUNK):
        part = rows[start : start + _CHUNK]
        part[:] = generator.standard_normal(part.shape, dtype=np.float32)
    return rows


def frechet(real: Rows, fake: Rows) -> dict[str, float]:
    """Statistics of both sets, and their distance."""
    a, b = (FeatureStatistics(rows.shape[1]).update(rows) for rows in (real, fake))
    return {"distance": frechet_distance(a.mean, a.cov, b.mean, b.cov)}


def kernel(real: Rows, fake: Rows) -> dict[str, float]:
    """Kernel distance with the usual 100 subsets of 1000."""
    found = kernel_distance(fake, real, subset_size=min(1000, len(real)))
    return {"value": found.value, "std": found.std}


def neighbours(real: Rows, fake: Rows) -> dict[str, float]:
    """Precision and recall with 3 neighbours, density and coverage with 5."""
    return prdc(real, fake, nearest_k=(3, 5))._asdict()


SCORES: dict[str, Callable[[Rows, Rows], dict[str, float]]] = {
    "frechet": frechet,
    "kernel": kernel,
    "prdc": neighbours,
}


def main(
    n: Annotated[int, typer.Option(help="images in each of the two sets")] = 50_000,
    dim: Annotated[int, typer.Option(help="features of an image")] = 2048,
    limit: Annotated[float, typer.Option(help="GB of memory not to be exceeded")] = 4.0,
    output: Annotated[Path, typer.Option(help="JSON file to write")] = ROOT
    / "results"
    / "score_at_scale.json",
) -> None:
    """Score two sets of random features, and say what it took."""
    sets = random_features(n, dim, seed=0), random_features(n, dim, seed=1)
    record: dict[str, Any] = {"n": n, "dim": dim, "limit_bytes": int(limit * 1e9), "scores": {}}
    record["features_peak_bytes"] = peak_bytes()
    for name, score in SCORES.items():
        # Seconds of the processor tell what was counted from what a busy machine added.
        start, worked = time.perf_counter(), time.process_time()
        values = score(*sets)
        seconds = round(time.perf_counter() - start, 2)
        record["scores"][name] = {
            "seconds": seconds,
            "cpu_seconds": round(time.process_time() - worked, 2),
            "peak_bytes": peak_bytes(),
            "values": values,
        }
        print(f"{name}: {seconds} s", flush=True)
    record["seconds"] = round(sum(part["seconds"] for part in record["scores"].values()), 2)
    record["peak_bytes"] = peak_bytes()
    record["provenance"] = provenance()
    write_json_atomically(output, record)
    _show(record)
    if record["peak_bytes"] > record["limit_bytes"]:
        print(f"peak memory {record['peak_bytes'] / 1e9:.2f} GB, expected at most {limit} GB")
        raise typer.Exit(1)


def _show(record: dict[str, Any]) -> None:
    table = Table("score", "seconds", "peak, GB", title=f"{record['n']} × {record['dim']}, twice")
    for name, part in record["scores"].items():
        table.add_row(name, f"{part['seconds']:.1f}", f"{part['peak_bytes'] / 1e9:.2f}")
    table.add_row("all", f"{record['seconds']:.1f}", f"{record['peak_bytes'] / 1e9:.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
