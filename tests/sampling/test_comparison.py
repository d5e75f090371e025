"""Dense beside a plan beside fewer steps."""

from pathlib import Path
from typing import Any

import pytest

from dit_accel import DitAccelError
from dit_accel.sampling.comparison import Comparison, compare, prepare, steps_at_cost
from dit_accel.sampling.generate_config import GenerateConfig

INTERVAL = {"cache": {"policy": {"kind": "interval", "interval": 2}}}
FIRST_BLOCK = {"cache": {"policy": {"kind": "first_block", "threshold": 0.5}}}


def config(model: Path, plan: dict[str, Any], **changes: Any) -> GenerateConfig:
    values = {"class_labels": ["cat", "moon"], "num_inference_steps": 8, "rounds": 1}
    return GenerateConfig(**{"model": str(model), "plan": plan, **values, **changes})


def run(model: Path, plan: dict[str, Any]) -> tuple[Comparison, list[str]]:
    finished: list[str] = []
    return compare(prepare(config(model, plan)), finished.append), finished


def test_three_candidates(tiny_pipeline: Path) -> None:
    comparison, finished = run(tiny_pipeline, INTERVAL)
    assert list(comparison.rows) == ["dense", "plan", "fewer_steps"]
    assert len(finished) == comparison.prepared.total_runs
    dense, plan, fewer = comparison.rows.values()
    assert dense.fidelity.psnr_db == float("inf")
    assert plan.fidelity.psnr_db < 100 and fewer.fidelity.psnr_db < 100
    assert dense.images.shape == (2, 3, 32, 32)
    assert plan.macs < dense.macs
    assert comparison.speed_up("dense") == 1.0


def test_texts_are_made_at_exactly_the_models_size() -> None:
    prompts = {"class_labels": [], "prompts": ["a zebra"], "num_inference_steps": 1}
    said: list[str] = []
    prepared = prepare(config(Path("pixart-photos"), {}, **prompts))
    comparison = compare(prepared, notify=said.append)
    assert comparison.rows["dense"].images.shape == (1, 3, 128, 128)
    assert len(said) == 1 and "prompt 1: 'zebra'; known words" in said[0]
    assert comparison.text_encoder_seconds is not None


def test_fewer_steps_cost_what_the_plan_does(tiny_pipeline: Path) -> None:
    prepared = prepare(config(tiny_pipeline, INTERVAL))
    assert steps_at_cost(prepared, prepared.cost.macs_plan) == 5  # 0, 2, 4, 6 and the last
    assert steps_at_cost(prepared, 1) == 1


def test_data_dependent_plans_are_counted_as_they_ran(tiny_pipeline: Path) -> None:
    comparison, _ = run(tiny_pipeline, FIRST_BLOCK)
    cost = comparison.prepared.cost
    assert cost.data_dependent
    assert 0.99 * cost.macs_plan_lower <= comparison.rows["plan"].macs <= 1.01 * cost.macs_plan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_labels": ["dog"]}, "class_labels"),
        ({"plan": {"cache": {"policy": "intervall"}}}, "interval"),
        ({"plan": {"density": {"kind": "pooled", "pool": 2, "layers": [0, 9]}}}, "layers"),
        ({"model": "dit-photo"}, "dit-photos"),
    ],
)
def test_everything_wrong_is_found_before_loading(
    tiny_pipeline: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DitAccelError, match=message):
        prepare(config(tiny_pipeline, INTERVAL).model_copy(update=changes))
