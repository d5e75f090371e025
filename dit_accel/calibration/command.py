"""What ``dit-accel calibrate`` does: everything is checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dit_accel.calibration.calibrate import calibrate, check_request
from dit_accel.calibration_record import Target
from dit_accel.errors import DitAccelError, mismatch
from dit_accel.measure.architectures import load_architecture
from dit_accel.phase_report import Report
from dit_accel.plan import Plan
from dit_accel.sampling.loading import default_device, load_pipeline, pipeline_folder
from dit_accel.sampling.preparing import PreparedSampling, prepare_sampling
from dit_accel.sampling.sample_config import DataConfig, SampleConfig
from dit_accel.sampling.solvers import make_scheduler
from dit_accel.sampling.specs import SampleSpec
from dit_accel.sampling.texts import encode_each


@dataclass(frozen=True)
class PreparedCalibration:
    """A calibration that can begin: nothing is loaded yet.

    Attributes:
        sampling: the trajectories as a set of samples.
        speedup: dense MACs divided by the plan's.
        target: what the plan comes near to.
        out: folder of the plan.
    """

    sampling: PreparedSampling
    speedup: float
    target: Target
    out: Path


def prepare(
    settings: dict[str, Any],
    speedup: float,
    out: Path,
    labels: Sequence[str] = (),
    prompts: Sequence[str] = (),
    target: str = "converged",
) -> PreparedCalibration:
    """Check a calibration against its model's files.

    Args:
        settings: of `SampleConfig`: model, scheduler, num_inference_steps, guidance_scale,
            num_samples, dtype, batch_size.
        speedup: dense MACs divided by the plan's.
        out: folder of the plan; it must not hold a plan yet.
        labels: classes by name or number; drawn if there are none.
        prompts: texts, or one name of a shipped list or of a file of texts.
        target: `converged` or `dense`.

    Raises:
        DitAccelError: whatever would fail later.
    """
    reached = check_request(settings["num_inference_steps"], speedup, target)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        expected = "a folder that is empty or does not exist"
        raise DitAccelError("out: " + mismatch(str(out), expected, "choose another"))
    data = DataConfig(**_data(settings["model"], labels, prompts))
    sampling = prepare_sampling(SampleConfig(**settings, data=data))
    return PreparedCalibration(sampling, speedup, reached, out)


def _data(model: str, labels: Sequence[str], prompts: Sequence[str]) -> dict[str, Any]:
    if labels and prompts:
        raise DitAccelError(
            "label, prompt: a model is conditioned on one of them; leave the other out"
        )
    if prompts:
        is_list = len(prompts) == 1 and (prompts[0] == "photos" or Path(prompts[0]).is_file())
        return {"prompts": prompts[0] if is_list else list(prompts)}
    if labels:
        return {"labels": [int(label) if label.isdecimal() else label for label in labels]}
    if load_architecture(pipeline_folder(model)).is_text_conditional:
        raise DitAccelError(
            f"prompt: {model} reads texts, expected some like those it will be used with; give"
            " --prompt TEXT, several times, or --prompt FILE with one text a line"
        )
    return {"labels": "uniform"}


def run(prepared: PreparedCalibration, report: Report) -> Plan:
    """Load the model, calibrate, and write the plan."""
    config = prepared.sampling.config
    pipe = load_pipeline(config.model, config.dtype, default_device())
    pipe.scheduler = make_scheduler(config.scheduler, pipe.scheduler.config)
    specs = list(prepared.sampling.specs)
    plan = calibrate(
        pipe,
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
        speedup=prepared.speedup,
        target=prepared.target,
        seeds=[spec.seed for spec in specs],
        conditions=conditions_of(pipe, specs, config.guidance_scale),
        batch_size=config.batch_size,
        report=report,
    )
    plan.save(prepared.out)
    return plan


def conditions_of(pipe: Any, specs: Sequence[SampleSpec], guidance_scale: float) -> dict[str, Any]:
    """Arguments of the pipeline's call for the samples of a set."""
    if specs[0].prompt is None:
        return {"class_labels": [spec.class_label for spec in specs]}
    encoded = encode_each(pipe, [spec.prompt or "" for spec in specs], guidance_scale > 1)
    return {**encoded, "use_resolution_binning": False}
