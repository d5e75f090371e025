"""From a pipeline to a plan, to a folder and back, on tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from calibrated_plans import GUIDANCE, LABELS, SEEDS, STEPS, calling_twice, fitted, solver
from diffusers import UniPCMultistepScheduler
from tiny_models import FAMILIES, SIDE, TinyPixArt

import dit_accel
from dit_accel import DitAccelError, Plan, PlanError
from dit_accel.calibration.denoiser import Denoiser, Trajectories
from dit_accel.errors import UnsupportedError
from dit_accel.install import plan_of


def finals(pipe: Any, plan: Plan) -> torch.Tensor:
    return Denoiser(pipe).run(Trajectories(STEPS, GUIDANCE, SEEDS, LABELS, 8), plan)


def error(pipe: Any, plan: Plan) -> float:
    dense = finals(pipe, Plan())
    return float((finals(pipe, plan) - dense).norm() / dense.norm())


def test_a_plan_says_what_it_is(plan: Plan) -> None:
    rows, blocks = plan.cache
    assert (rows.site.method, blocks.site.method) == ("guidance", "deep")
    assert {cache.policy.method for cache in plan.cache} == {"calibrated"}
    assert set(rows.policy.compute) <= set(blocks.policy.compute)
    assert plan.exact and plan.calibration is not None
    record = plan.calibration
    assert (record.num_inference_steps, record.guidance_scale, record.seeds) == (
        STEPS,
        GUIDANCE,
        SEEDS,
    )
    assert record.expected is not None and record.expected.speedup_macs >= 1.8


def test_it_beats_an_even_plan_of_the_same_cost(pipe: Any, plan: Plan) -> None:
    rows, blocks = (cache.policy.compute for cache in plan.cache)

    def evenly(count: int) -> dict[str, Any]:
        compute = sorted({round(k * STEPS / count) for k in range(count)})
        return {"kind": "list", "compute": compute}

    predictor = {"kind": "polynomial", "order": 1}
    even = Plan(
        exact=True,
        cache=[
            {"site": "guidance", "predictor": predictor, "policy": evenly(len(rows))},
            {"site": "deep", "predictor": predictor, "policy": evenly(len(blocks))},
        ],
    )
    assert error(pipe, plan) < 0.7 * error(pipe, even)


def test_the_expected_error_is_the_error(pipe: Any, plan: Plan) -> None:
    assert plan.calibration is not None and plan.calibration.expected is not None
    assert error(pipe, plan) == pytest.approx(plan.calibration.expected.latent_error, rel=0.01)


def test_same_seeds_same_plan(pipe: Any, plan: Plan) -> None:
    told: list[tuple[str, int, int]] = []
    again = fitted(pipe, report=lambda *phase: told.append(phase))
    assert again.fingerprint == plan.fingerprint
    ended = [phase for phase, done, total in told if done == total]
    assert ended == ["trajectories", "sensitivity", "candidates", "trajectories"]


def test_the_pipeline_is_left_as_it_was(pipe: Any) -> None:
    family = FAMILIES["dit"]
    dit_accel.accelerate(pipe, "fast")
    before = family.generate(pipe, steps=4)
    fitted(pipe, num_inference_steps=4, speedup=1.2)
    assert plan_of(pipe) == Plan.load("fast")
    torch.testing.assert_close(family.generate(pipe, steps=4), before, rtol=0, atol=0)
    dit_accel.restore(pipe)
    assert "step" not in vars(pipe.scheduler) and "set_timesteps" not in vars(pipe.scheduler)


def test_a_folder_holds_the_whole_plan(plan: Plan, tmp_path: Path, pipe: Any) -> None:
    plan.save(tmp_path / "plan")
    names = sorted(path.name for path in (tmp_path / "plan").iterdir())
    assert names == ["calibration.safetensors", "plan.yaml"]
    written, _, _ = (tmp_path / "plan" / "plan.yaml").read_text().partition("\ncalibration:")
    assert "weights: [" not in written and "table: calibration.safetensors" in written
    loaded = Plan.load(tmp_path / "plan")
    assert loaded == plan and loaded.fingerprint == plan.fingerprint
    assert Plan.from_yaml(plan.to_yaml()) == plan
    dit_accel.accelerate(pipe, str(tmp_path / "plan"))
    assert plan_of(pipe) == plan
    (tmp_path / "plan" / "calibration.safetensors").unlink()
    with pytest.raises(PlanError, match=r"cannot be read .*copy the folder completely"):
        Plan.load(tmp_path / "plan")


def test_the_weights_are_part_of_the_fingerprint(plan: Plan) -> None:
    document = plan.to_dict()
    document["cache"][1]["predictor"]["table"][0]["input"] += 0.1
    assert Plan.load(document).fingerprint != plan.fingerprint


def generate(pipe: Any, steps: int = STEPS, guidance: float = GUIDANCE) -> None:
    FAMILIES["dit"].generate(pipe, SEEDS, steps=steps, guidance=guidance)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": STEPS + 2}, r"num_inference_steps: 12 here, 10 calibrated"),
        ({"guidance": 1.0}, r"guidance: off here, 2.0 calibrated"),
        ({"scheduler": UniPCMultistepScheduler()}, "UniPCMultistepScheduler here"),
        ({"spacing": "trailing"}, 'timestep_spacing: "trailing" here, "linspace" calibrated'),
    ],
)
def test_other_runs_are_refused(
    pipe: Any, plan: Plan, change: dict[str, Any], message: str
) -> None:
    dit_accel.accelerate(pipe, plan)
    if "scheduler" in change:
        pipe.scheduler = change.pop("scheduler")
    if "spacing" in change:
        changed = {"timestep_spacing": change.pop("spacing")}
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, **changed)
    with pytest.raises(PlanError, match=f"(?s){message}.*check: false"):
        generate(pipe, **change)


def test_other_models_are_refused(plan: Plan) -> None:
    family = FAMILIES["dit"]
    with pytest.raises(PlanError, match="the weights are others"):
        dit_accel.accelerate(family.pipeline(solver(), seed=1), plan)
    with pytest.raises(PlanError, match="config has hash"):
        dit_accel.accelerate(family.pipeline(solver(), num_layers=5), plan)
    # The same model in half precision is the same model.
    dit_accel.accelerate(family.pipeline(solver(), dtype=torch.bfloat16), plan)


def test_unless_told_to(pipe: Any, plan: Plan) -> None:
    document = plan.to_dict()
    document["calibration"]["check"] = False
    pipe.scheduler = UniPCMultistepScheduler()
    dit_accel.accelerate(pipe, document)
    generate(pipe)


def test_without_guidance_there_is_one_cache(pipe: Any) -> None:
    plan = fitted(pipe, guidance_scale=1.0, num_inference_steps=6, speedup=1.4)
    assert [cache.site.method for cache in plan.cache] == ["deep"]
    dit_accel.accelerate(pipe, plan)
    generate(pipe, 6, 1.0)
    with pytest.raises(PlanError, match=r"guidance: on here, 1\.0 calibrated"):
        generate(pipe, 6, 2.0)


@pytest.mark.parametrize(
    "sigma", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["sigma", "alpha"]
)
def test_text_conditional(sigma: bool) -> None:
    family = TinyPixArt(sigma)
    pipe = family.pipeline(solver())
    with pytest.raises(DitAccelError, match="reads texts, expected some"):
        fitted(pipe, conditions=None)
    embeds, mask = family.text(SEEDS, torch.float32)
    null, null_mask = family.text([0, 0], torch.float32)
    conditions = {
        "prompt_embeds": embeds,
        "prompt_attention_mask": mask,
        "negative_prompt": None,
        "negative_prompt_embeds": null,
        "negative_prompt_attention_mask": null_mask,
        "height": SIDE,
        "width": SIDE,
        "use_resolution_binning": False,
    }
    plan = fitted(pipe, conditions=conditions, num_inference_steps=6, speedup=1.4)
    dit_accel.accelerate(pipe, plan)
    family.generate(pipe, SEEDS, steps=6, guidance=GUIDANCE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"speedup": 1.0}, "speedup: .*above 1"),
        ({"speedup": 40.0}, "speedup: got 40.0, .*no plan is that cheap"),
        ({"num_inference_steps": 2}, "num_inference_steps: .*at least 3"),
        ({"seeds": ()}, "seeds: .*at least one"),
        ({"seeds": (1, 1)}, "seeds: .*none twice"),
        ({"batch_size": 0}, "batch_size: .*at least 1"),
    ],
)
def test_requests_that_make_no_sense(pipe: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DitAccelError, match=message):
        fitted(pipe, **{"num_inference_steps": 4, **changes})


def test_separate_guidance_calls_are_refused(pipe: Any) -> None:
    calling_twice(pipe)
    with pytest.raises(UnsupportedError, match="expected one a step"):
        fitted(pipe, num_inference_steps=4, speedup=1.3)
