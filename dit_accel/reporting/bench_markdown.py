"""A benchmark as Markdown: tables, and in words which plans are worth having."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dit_accel.reporting import units

_NO_FIDELITY = (
    "Random weights: speed, memory and MACs only. No fidelity is claimed, and plans whose cache "
    "decides by the data decide on meaningless activations here."
)
_COLUMNS = (
    "candidate",
    "loop, s (IQR)",
    "images/s",
    "peak memory",
    "MACs",
    "speed-up",
    "MAC speed-up",
    "efficiency",
    "PSNR / SSIM to dense",
    "PSNR / SSIM to converged",
)


def save_bench(report: dict[str, Any], stem: Path) -> tuple[Path, Path]:
    """Write ``<stem>.json`` and ``<stem>.md``; returns both paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".md")
    paths[0].write_text(json.dumps(report, indent=2) + "\n")
    paths[1].write_text(bench_markdown(report))
    return paths


def bench_markdown(report: dict[str, Any]) -> str:
    """The whole page from what ``bench_report`` returned."""
    settings = report["settings"]
    sections = [
        f"# Benchmark: {Path(settings['model']).name}",
        _how(report),
        markdown_table(_COLUMNS, bench_rows(report)),
        _throughput(report),
        _apart(report),
        _NO_FIDELITY if settings["random_weights"] else _worth(report),
        _prompts(report),
        "## Provenance\n\n```json\n" + json.dumps(report["provenance"], indent=2) + "\n```",
        "## Plans\n\n```json\n" + json.dumps(settings["plans"], indent=2) + "\n```",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is aligned left and the others right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def bench_rows(report: dict[str, Any]) -> list[list[str]]:
    """Cells of the main table, one list a candidate."""
    return [
        [
            row["name"],
            f"{row['median_s']:.3f} ({row['iqr_s']:.3f})",
            f"{row['images_per_second_per_device']:.2f}",
            units.memory(row["peak_memory"]["bytes"]),
            units.macs(row["macs"]),
            f"{row['speed_up']:.2f}×",
            f"{row['mac_speed_up']:.2f}×",
            f"{row['efficiency']:.2f}",
            _pair(row["to_dense"], reference=row["kind"] == "dense"),
            _pair(row["to_converged"], reference=False),
        ]
        for row in report["rows"]
    ]


def _pair(value: dict[str, Any] | None, *, reference: bool) -> str:
    if value is None or reference:
        return "–"
    return f"{units.decibels(value['psnr_db'])} / {value['ssim']:.3f}"


def _how(report: dict[str, Any]) -> str:
    settings, provenance = report["settings"], report["provenance"]
    kinds = {row["peak_memory"]["kind"] for row in report["rows"]}
    solver = ", ".join(f"{key} {value}" for key, value in report["solver_settings"].items())
    return (
        f"{settings['num_images']} images a run, guidance {settings['guidance_scale']}, "
        f"{settings['dtype']}, {provenance['device']}, "
        f"{'compiled' if settings['compiled'] else 'eager'}, "
        f"{settings['rounds']} interleaved rounds after a warm-up, medians (interquartile range). "
        "Times are of the denoising loop alone. Speed-up: against dense with the same solver and "
        "steps (fewer-step rows: against the base that is named in the JSON). Efficiency: "
        f"speed-up ÷ MAC speed-up. Peak memory: {', '.join(sorted(kinds))}. "
        f"All solvers share: {solver}. Converged: dense UniPC, 100 steps, same seeds."
    )


def _throughput(report: dict[str, Any]) -> str:
    world = report["provenance"]["world_size"]
    if world == 1:
        return ""
    rows = [
        [
            row["name"],
            f"{row['images_per_second_per_device']:.2f}",
            f"{row['images_per_second_total']:.2f}",
        ]
        for row in report["rows"]
    ]
    table = markdown_table(("candidate", "images/s per device", "images/s in all"), rows)
    return f"## Throughput over {world} ranks\n\n{table}"


def _apart(report: dict[str, Any]) -> str:
    decoding = [row["autoencoder_seconds"] for row in report["rows"]]
    parts = []
    if decoding[0] is not None:
        parts.append(f"autoencoder {min(decoding):.3f} s a batch")
    if report["text_encoder_seconds"] is not None:
        seconds = report["text_encoder_seconds"]
        parts.append(f"text encoder {seconds:.3f} s a batch (first call, prompt by prompt)")
    return f"Apart from the loop: {', '.join(parts)}." if parts else ""


def _worth(report: dict[str, Any]) -> str:
    lines = [f"- {_verdict(verdict)}" for verdict in report["verdicts"]]
    intro = (
        "Measured by PSNR to the converged run. The bar is the best dense run of equal time, "
        "interpolated between all dense rows above (every solver, every number of steps)."
    )
    return "\n\n".join(["## Which plans beat dense with fewer steps?", intro, "\n".join(lines)])


def _prompts(report: dict[str, Any]) -> str:
    prompts = report["conditions"].get("prompts")
    return "## Prompts\n\n" + "\n".join(f"1. {prompt}" for prompt in prompts) if prompts else ""


def _verdict(verdict: dict[str, Any]) -> str:
    name, seconds = f"**{verdict['name']}**", f"{verdict['median_s']:.3f} s"
    if verdict["beats_fewer_steps"] is None:
        return f"{name}: no dense run is as fast ({seconds}); nothing to compare with."
    word = "beats" if verdict["beats_fewer_steps"] else "does not beat"
    return (
        f"{name} {word} dense with fewer steps at equal time ({seconds}): "
        f"{verdict['psnr_db']:.2f} dB, dense {verdict['dense_psnr_db_at_equal_time']:.2f} dB "
        f"({verdict['difference_db']:+.2f} dB)."
    )
