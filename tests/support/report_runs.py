"""Run folders as ``sample``, ``score`` and ``evaluate`` leave them, without a model having run."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dit_accel import Plan
from dit_accel.runs import ImageRecord, ManifestWriter, RunFolder, image_writer, pixel_sha256
from dit_accel.scoring.records import ScoreRecord, append_records

INTERVAL = {"cache": {"policy": {"kind": "interval", "interval": 2}}}
SIDE = 32


@dataclass(frozen=True)
class RunSpec:
    """What a run folder is made from; scores by metric as (value, half width or None)."""

    plan: Mapping[str, Any] = field(default_factory=dict)
    scheduler: str = "DDIM"
    steps: int = 10
    seconds: float | None = 1.0
    scores: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    num_samples: int = 12
    made: int | None = None
    label: str | None = None
    prompts: tuple[str, ...] = ()
    side: int = SIDE
    ranks: int = 1
    seed: int = 0
    model: str = "dit-photos"


def write_run(path: Path, spec: RunSpec, baseline: RunFolder | None = None) -> RunFolder:
    """Make the folder of one run; returns it."""
    data = {"kind": "prompts" if spec.prompts else "labels", "sha256": "d" * 64}
    identity = {
        "model": {"name": "dit-photos", "pipeline": "DiTPipeline", "files": {"vae": "1:ab"}},
        "plan": Plan.load(spec.plan).to_dict(),
        "scheduler": {"name": spec.scheduler, "beta_schedule": "linear"},
        "dtype": "float32",
        "num_inference_steps": spec.steps,
        "guidance_scale": 1.5,
        "height": None,
        "width": None,
        "seed": spec.seed,
        "num_samples": spec.num_samples,
        "data": data,
        "format": "png",
        "deterministic": False,
    }
    environment = {
        "date": "2026-11-23T00:07:03+00:00",
        "commit": "a" * 40,
        "dirty": False,
        "versions": {"torch": "2.15.0"},
        "hardware": {"cpu": "AMD EPYC", "cores": 2, "gpus": []},
    }
    settings = {"model": spec.model, "batch_size": 4, "output": str(path), "format": "png"}
    folder = RunFolder.create_or_resume(
        path, identity=identity, settings=settings, environment=environment, block_size=4
    )
    _write_images(folder, spec)
    _write_scores(folder, spec, baseline)
    return folder


def picture(index: int, side: int, noise: float = 0.0) -> np.ndarray:
    """A smooth pattern that depends on ``index``."""
    y, x = np.mgrid[0:side, 0:side] / side
    base = np.stack([x, y, 0.5 + 0.5 * np.sin(6 * (x + y) + index)], axis=-1)
    generator = np.random.default_rng(index)
    return np.clip(255 * base + noise * generator.normal(size=base.shape), 0, 255).astype(np.uint8)


def _write_images(folder: RunFolder, spec: RunSpec) -> None:
    made = spec.num_samples if spec.made is None else spec.made
    writer = image_writer(folder)
    for number, block in enumerate(folder.blocks()):
        kept = [index for index in block if index < made]
        images = {index: picture(index, spec.side, 20.0 * bool(spec.plan)) for index in kept}
        if not images:
            continue
        places = writer.write(block, images)
        rank = number % spec.ranks
        with ManifestWriter(folder, rank) as manifest:
            manifest.append(
                ImageRecord(
                    index=index,
                    seed=spec.seed + index,
                    class_label=None if spec.prompts else index % 15,
                    prompt=spec.prompts[index % len(spec.prompts)] if spec.prompts else None,
                    file=places[index][0],
                    member=places[index][1],
                    sha256=pixel_sha256(image),
                    rank=rank,
                    host=socket.gethostname(),
                    pid=1,
                    batch=f"{number}",
                    batch_size=len(images),
                    seconds=4.0,
                    time=1000.0 + 4.0 * number,
                )
                for index, image in images.items()
            )


_HIGHER = ("psnr", "ssim", "precision_ref", "recall_ref", "density_ref", "coverage_ref")
_LABELS = {"fd_ref": "FD-ref", "kid_ref": "KID-ref", "psnr": "PSNR, dB", "ssim": "SSIM"}


def _write_scores(folder: RunFolder, spec: RunSpec, baseline: RunFolder | None) -> None:
    made = spec.num_samples if spec.made is None else spec.made
    records = []
    for metric, (value, half) in spec.scores.items():
        paired = metric in ("psnr", "ssim")
        if paired and baseline is None:
            continue
        records.append(
            ScoreRecord(
                metric=metric,
                label=f"{_LABELS.get(metric, metric.replace('_', '-'))} (N={made})",
                value=value,
                std=half / 1.96 if half is not None and metric == "kid_ref" else None,
                interval=None
                if half is None or value is None or metric == "kid_ref"
                else (value - half, value + half),
                level=0.95,
                n=made,
                complete=made == spec.num_samples,
                better="higher" if metric in _HIGHER else "lower",
                extractor=None
                if paired
                else {"name": "ref", "version": "1", "sha256": "e" * 64, "resize": "none"},
                reference=None if paired else {"name": "ref-photos", "sha256": "f" * 64, "n": 999},
                baseline=None
                if not paired or baseline is None
                else {"path": str(baseline.path), "fingerprint": baseline.fingerprint},
                settings={},
                images={"path": str(folder.path), "fingerprint": "0" * 64},
                provenance={},
                time=1.0,
            )
        )
    append_records(folder.scores, records)


def write_evaluation(folder: Path, title: str, runs: Mapping[str, RunSpec], baseline: str) -> Path:
    """Make the run folders of an evaluation and its ``evaluation.json``; returns its folder."""
    base = write_run(folder / baseline, runs[baseline])
    for name, spec in runs.items():
        if name != baseline:
            write_run(folder / name, spec, base)
    timed = {name: spec for name, spec in runs.items() if spec.seconds is not None}
    document = {
        "name": folder.name,
        "title": title,
        "baseline": baseline,
        "runs": {
            name: {
                "path": name,
                "kind": "plan" if spec.plan else "dense",
                "label": spec.label or name,
            }
            for name, spec in runs.items()
        },
        "latency": {
            name: {
                "median_s": 4 * spec.seconds,
                "iqr_s": 0.08 * spec.seconds,
                "rounds_s": [3.9 * spec.seconds, 4 * spec.seconds, 4.1 * spec.seconds],
                "images": 4,
            }
            for name, spec in timed.items()
            if spec.seconds is not None
        },
        "macs": {},
        "memory": {name: {"bytes": 30_000_000, "kind": "peak RSS increase"} for name in timed},
        "provenance": {"commit": "a" * 40, "hardware": {"cpu": "AMD EPYC", "gpus": []}},
    }
    (folder / "evaluation.json").write_text(json.dumps(document))
    return folder


def scores(fd: float, psnr: float | None = None) -> dict[str, tuple[float | None, float | None]]:
    """The scores of one run, with the half widths that 256 pictures would leave."""
    return {
        "fd_ref": (fd, 0.4),
        "kid_ref": (fd / 1000, 0.0004),
        "precision_ref": (0.81, 0.03),
        "recall_ref": (0.62, 0.04),
        "density_ref": (0.95, 0.05),
        "coverage_ref": (0.88, 0.02),
        "psnr": (psnr, 0.5),
        "ssim": (None if psnr is None else 1 - 10 ** (-psnr / 15), 0.001),
    }


DIT_PHOTOS = {
    "dense_50": RunSpec(steps=50, seconds=2.5, scores=scores(12.1), label="dense DDIM 50"),
    "dense_25": RunSpec(steps=25, seconds=1.26, scores=scores(12.6, 36.2), label="dense DDIM 25"),
    "dpm_25": RunSpec(
        scheduler="DPMSolver++",
        steps=25,
        seconds=1.28,
        scores=scores(12.0, 45.0),
        label="dense DPM-Solver++ 25",
    ),
    "dpm_16": RunSpec(
        scheduler="DPMSolver++",
        steps=16,
        seconds=0.82,
        scores=scores(12.3, 41.0),
        label="dense DPM-Solver++ 16",
    ),
    "quality": RunSpec(plan={**INTERVAL}, steps=50, seconds=1.62, scores=scores(12.1, 52.1)),
    "balanced": RunSpec(
        plan={
            "cache": {
                "predictor": {"kind": "polynomial", "order": 2},
                "policy": {"kind": "interval", "interval": 2},
            }
        },
        steps=50,
        seconds=1.27,
        scores=scores(12.2, 50.0),
    ),
    "fast": RunSpec(
        plan={
            "cache": {"policy": {"kind": "interval", "interval": 3}},
            "merge": {"kind": "tome2d", "ratio": 0.5, "layers": [2, 5]},
        },
        steps=50,
        seconds=0.91,
        scores=scores(14.9, 40.2),
    ),
}
"""The evaluation that ships, with made-up numbers."""

NASTY = '<script>alert("x")</script> | `tick` *star* & 🦊 "quoted"'
"""Text that neither HTML nor Markdown may act on."""
