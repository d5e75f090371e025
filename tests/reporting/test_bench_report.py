"""The benchmark's report: ratios, verdicts and the words for them."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dit_accel import Plan
from dit_accel.measure.bench_settings import BenchSettings
from dit_accel.measure.benchmark import Benchmark, Measurement
from dit_accel.measure.candidates import Base, Candidate
from dit_accel.measure.fidelity import Fidelity
from dit_accel.measure.memory import PeakMemory
from dit_accel.measure.timing import Timing
from dit_accel.reporting.bench_markdown import bench_markdown, markdown_table, save_bench
from dit_accel.reporting.bench_report import bench_report
from dit_accel.reporting.bench_table import bench_table

BASE = Base("UniPC", 20)


def row(kind: Any, label: str, steps: int, seconds: float, macs: int, psnr: float) -> Measurement:
    return Measurement(
        candidate=Candidate(kind, label, Base("UniPC", steps), BASE, Plan()),
        timing=Timing((seconds,) * 5),
        macs=macs,
        memory=PeakMemory(2**20, "peak RSS increase"),
        decode_seconds=0.5,
        to_dense=Fidelity(float("inf") if kind == "dense" else 30.0, 0.9),
        to_converged=Fidelity(psnr, 0.8),
    )


ROWS = [
    row("dense", "dense", 20, 4.0, 4000, 40.0),
    row("plan", "good", 20, 2.0, 2000, 35.0),
    row("plan", "bad", 20, 2.0, 1000, 25.0),
    row("plan", "fastest", 20, 0.5, 500, 20.0),
    row("fewer_steps", "dense", 5, 1.0, 1000, 20.0),
]


def benchmark(world_size: int = 1, model: str = "dit-photos") -> Benchmark:
    reads_text = model != "dit-photos"
    settings = BenchSettings(
        model=model,
        plans={"good": Plan(), "bad": Plan(), "fastest": Plan()},
        bases=(BASE,),
        guidance_scale=1.5,
        num_images=4,
        rounds=5,
        dtype="float32",
        device="cpu",
        compiled=False,
        seed=0,
        random_weights=False,
    )
    return Benchmark(
        settings=settings,
        conditions={"prompts": ["a cat", "moon"]} if reads_text else {"class_labels": [0, 1]},
        rows=ROWS,
        rank_seconds={r.candidate.name: [r.timing.median] * world_size for r in ROWS},
        text_encoder_seconds=0.25 if reads_text else None,
        solver_settings={"timestep_spacing": "trailing"},
        provenance={
            "device": "cpu",
            "world_size": world_size,
            "commit": "abc",
            "date": "2026-01-02T00:00:00+00:00",
            "hardware": {"cpu": "a CPU", "gpus": []},
        },
    )


def test_ratios() -> None:
    rows = {item["name"]: item for item in bench_report(benchmark())["rows"]}
    good, bad = rows["good, UniPC 20"], rows["bad, UniPC 20"]
    assert (good["speed_up"], good["mac_speed_up"], good["efficiency"]) == (2.0, 2.0, 1.0)
    assert (bad["speed_up"], bad["mac_speed_up"], bad["efficiency"]) == (2.0, 4.0, 0.5)
    assert good["images_per_second_total"] == 2.0


def test_verdicts_compare_at_equal_time() -> None:
    verdicts = {item["name"]: item for item in bench_report(benchmark())["verdicts"]}
    # Half-way, in the logarithm of time, between 20 dB at 1 s and 40 dB at 4 s.
    assert verdicts["good, UniPC 20"]["dense_psnr_db_at_equal_time"] == pytest.approx(30)
    assert verdicts["good, UniPC 20"]["beats_fewer_steps"] is True
    assert verdicts["bad, UniPC 20"]["beats_fewer_steps"] is False
    assert verdicts["fastest, UniPC 20"]["beats_fewer_steps"] is None


def test_markdown_says_so_plainly() -> None:
    page = bench_markdown(bench_report(benchmark()))
    assert "**good, UniPC 20** beats dense with fewer steps at equal time (2.000 s)" in page
    assert "**bad, UniPC 20** does not beat" in page and "(-5.00 dB)" in page
    assert "**fastest, UniPC 20**: no dense run is as fast" in page
    assert "timestep_spacing trailing" in page and "Throughput" not in page
    assert "text encoder" not in page and "## Prompts" not in page


def test_markdown_of_a_text_model_says_what_its_texts_were_and_took() -> None:
    page = bench_markdown(bench_report(benchmark(model="pixart-photos")))
    assert "autoencoder 0.500 s a batch, text encoder 0.250 s a batch" in page
    assert "## Prompts\n\n1. a cat\n1. moon\n" in page


def test_several_ranks_have_a_total() -> None:
    report = bench_report(benchmark(world_size=3))
    assert report["rows"][0]["images_per_second_per_device"] == 1.0
    assert report["rows"][0]["images_per_second_total"] == 3.0
    assert "Throughput over 3 ranks" in bench_markdown(report)


def test_files(tmp_path: Path) -> None:
    report = bench_report(benchmark())
    written = save_bench(report, tmp_path / "new" / "bench_dit-photos.v1")
    assert [path.name for path in written] == ["bench_dit-photos.v1.json", "bench_dit-photos.v1.md"]
    assert json.loads(written[0].read_text()) == report


def test_terminal_table() -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(bench_table(bench_report(benchmark())))
    text = console.export_text()
    assert "good, UniPC 20: +5.00 dB" in text and "faster than every dense run" in text


def test_markdown_table() -> None:
    assert markdown_table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"
