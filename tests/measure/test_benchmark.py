"""The benchmark's rows, on a tiny pipeline and on random weights."""

from pathlib import Path
from typing import Any

import pytest

from dit_accel import DitAccelError, Plan
from dit_accel.measure.bench_settings import BenchSettings, bench_batch, prepare_benchmark
from dit_accel.measure.benchmark import Benchmark, run_benchmark
from dit_accel.measure.candidates import Base
from dit_accel.sampling.conditions.prompts import read_prompts

PLANS = {
    "interval": Plan.load({"cache": {"policy": {"kind": "interval", "interval": 2}}}),
    "first": Plan.load({"cache": {"policy": {"kind": "first_block", "threshold": 0.5}}}),
}


def settings(model: Path, **changes: Any) -> BenchSettings:
    values: dict[str, Any] = {
        "model": str(model),
        "plans": PLANS,
        "bases": (Base("UniPC", 8),),
        "guidance_scale": 2.0,
        "num_images": 2,
        "rounds": 2,
        "dtype": "float32",
        "device": "cpu",
        "compiled": False,
        "seed": 0,
        "random_weights": False,
    }
    return BenchSettings(**{**values, **changes})


@pytest.fixture(scope="module", params=["tiny_pipeline", "tiny_text_pipeline"])
def measured(request: pytest.FixtureRequest) -> tuple[Benchmark, list[str], int]:
    prepared = prepare_benchmark(settings(request.getfixturevalue(request.param)))
    finished: list[str] = []
    return run_benchmark(prepared, finished.append), finished, prepared.total_runs


def test_every_candidate_is_measured_in_every_round(measured: Any) -> None:
    benchmark, finished, total = measured
    assert len(benchmark.rows) == 3 + 9
    assert all(len(row.timing.seconds) == 2 for row in benchmark.rows)
    assert len(finished) == total


def test_fidelity_is_to_the_own_base_and_to_the_converged_run(measured: Any) -> None:
    dense, *others = measured[0].rows
    assert dense.to_dense.psnr_db == float("inf")
    assert dense.to_converged.psnr_db < 100
    assert all(row.to_dense.psnr_db < 200 and row.to_converged is not None for row in others)


def test_macs_of_static_and_of_data_dependent_plans(measured: Any) -> None:
    macs = {
        row.candidate.label: row.macs
        for row in measured[0].rows
        if row.candidate.kind != "fewer_steps"
    }
    assert macs["interval"] < macs["dense"]
    assert 0 < macs["first"] <= 1.01 * macs["dense"]


def test_autoencoder_and_text_encoder_apart(measured: Any) -> None:
    benchmark = measured[0]
    assert all(row.decode_seconds > 0 for row in benchmark.rows)
    if "prompts" in benchmark.conditions:
        assert benchmark.text_encoder_seconds > 0
    else:
        assert benchmark.text_encoder_seconds is None


@pytest.mark.parametrize("fixture", ["tiny_pipeline", "tiny_text_pipeline"])
def test_random_weights_claim_no_fidelity(request: pytest.FixtureRequest, fixture: str) -> None:
    config = request.getfixturevalue(fixture) / "transformer" / "config.json"
    prepared = prepare_benchmark(settings(config, random_weights=True, dtype="bfloat16"))
    benchmark = run_benchmark(prepared)
    assert [row.candidate.label for row in benchmark.rows] == ["dense", "interval", "first"]
    assert all(row.to_dense is None and row.to_converged is None for row in benchmark.rows)
    assert all(row.decode_seconds is None for row in benchmark.rows)
    assert benchmark.conditions == {} and benchmark.text_encoder_seconds is None


@pytest.mark.requires_compiler
def test_compiled(tiny_pipeline: Path) -> None:
    config = tiny_pipeline / "transformer" / "config.json"
    plans = {"interval": PLANS["interval"]}
    prepared = prepare_benchmark(
        settings(config, random_weights=True, compiled=True, plans=plans, rounds=1)
    )
    assert len(run_benchmark(prepared).rows) == 2


def test_classes_in_turn_and_seeds_in_order(tiny_pipeline: Path) -> None:
    prepared = prepare_benchmark(settings(tiny_pipeline, num_images=4, seed=10))
    batch = bench_batch(prepared.settings, prepared.architecture)
    assert batch.class_labels == (0, 1, 2, 0)
    assert batch.seeds == (10, 11, 12, 13)


def test_shipped_prompts_in_turn_and_seeds_in_order(tiny_text_pipeline: Path) -> None:
    prepared = prepare_benchmark(settings(tiny_text_pipeline, num_images=3, seed=10))
    batch = bench_batch(prepared.settings, prepared.architecture)
    assert batch.prompts == tuple(read_prompts(Path("photos"))[:3])
    assert batch.seeds == (10, 11, 12) and batch.class_labels is None


def test_a_folder_without_a_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DitAccelError, match="model"):
        prepare_benchmark(settings(tmp_path))
