"""What ``configs/eval/*.yaml`` may say: runs over the same seeds, and how to judge them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from dit_accel.configuration.overrides import read_overridden
from dit_accel.configuration.strict_model import StrictModel
from dit_accel.errors import PlanError, Problem, did_you_mean, mismatch
from dit_accel.sampling.sample_config import SampleConfig

_NAME = "letters, digits, '.', '_' and '-', beginning with a letter or digit"


class RunConfig(StrictModel):
    """One row of the evaluation; what is not said here is shared by all runs."""

    scheduler: str
    num_inference_steps: int = Field(gt=0)
    plan: Any = Field(default=None, description="preset, YAML path or plan; dense without it")


class EvaluationConfig(StrictModel):
    """Runs that differ in plan, solver and steps alone, made from the same seeds.

    All keys but these are keys of ``dit-accel sample`` and hold for every run.
    """

    title: str
    runs: dict[str, RunConfig] = Field(min_length=2)
    baseline: str = Field(description="the run that paired metrics compare with")
    reference: str = Field(description="a file made by 'dit-accel reference', or ref-photos")
    metrics: tuple[str, ...] = Field(min_length=1)
    rounds: int = Field(default=3, gt=0, description="rounds of the latency, interleaved")
    latency_images: int = Field(default=4, gt=0, description="images of one timed batch")

    @model_validator(mode="after")
    def _runs_are_folders(self) -> EvaluationConfig:
        for name in self.runs:
            if not _is_name(name):
                raise ValueError(f"runs: {mismatch(name, _NAME, 'a run is a folder; rename it')}")
        if self.baseline not in self.runs:
            expected = f"one of the runs ({', '.join(self.runs)})"
            remedy = did_you_mean(self.baseline, self.runs) + "name the run to compare with"
            raise ValueError(f"baseline: {mismatch(self.baseline, expected, remedy)}")
        return self

    @property
    def dense(self) -> tuple[str, ...]:
        """Names of the runs without a plan."""
        return tuple(name for name, run in self.runs.items() if run.plan is None)


def _is_name(text: str) -> bool:
    return text[:1].isalnum() and all(letter.isalnum() or letter in "._-" for letter in text)


def load_evaluation(
    path: str | Path, assignments: Sequence[str] = ()
) -> tuple[EvaluationConfig, dict[str, SampleConfig]]:
    """Read an evaluation and the sampling config of each of its runs.

    Args:
        path: a YAML file.
        assignments: ``--set`` changes, as in ``num_samples=5000`` or ``runs.fast.plan=my.yaml``.

    Raises:
        PlanError: naming every key or value that does not fit.
    """
    document = read_overridden(path, assignments)
    own = {key: value for key, value in document.items() if key in EvaluationConfig.model_fields}
    shared = {key: value for key, value in document.items() if key not in own}
    try:
        _refuse_unknown(shared)
        evaluation = EvaluationConfig(**own)
        return evaluation, _sample_configs(evaluation, shared)
    except PlanError as error:
        raise PlanError(*error.problems, source=str(path)) from None


def _refuse_unknown(shared: Mapping[str, Any]) -> None:
    """Keys that every run has for itself do not belong beside the runs, nor do unknown ones."""
    valid = [key for key in SampleConfig.model_fields if key not in RunConfig.model_fields]
    every = [*EvaluationConfig.model_fields, *valid]
    problems = []
    for key in shared:
        if key in RunConfig.model_fields:
            problems.append(Problem(key, f"belongs to a single run; move it to runs.NAME.{key}"))
        elif key not in valid:
            hint = did_you_mean(key, every)
            problems.append(Problem(key, f"unknown key; {hint}valid keys: {', '.join(every)}"))
    if problems:
        raise PlanError(*problems)


def _sample_configs(
    evaluation: EvaluationConfig, shared: Mapping[str, Any]
) -> dict[str, SampleConfig]:
    """Every run's own config; each keeps its images in a folder of its own under ``output``."""
    output = Path(str(shared.get("output", "runs/evaluation")))
    configs = {}
    for name, run in evaluation.runs.items():
        own = {key: value for key, value in run.model_dump().items() if key != "plan"}
        plan = {} if run.plan is None else run.plan
        folder = {"output": str(output / name)}
        configs[name] = SampleConfig(**{**shared, **own, **folder, "plan": plan})
    return configs
