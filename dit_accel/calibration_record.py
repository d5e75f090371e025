"""The key `calibration` of a plan: the run that it was fitted to, and what to expect of it.

A calibrated plan holds numbers of one model, one solver and one number of steps. Elsewhere they are
as good as drawn by lot, so that such a run is refused, naming what differs. `check: false` uses the
plan all the same.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args

import torch
from pydantic import BeforeValidator, Field, PlainSerializer
from torch import nn

from dit_accel.configuration.strict_model import StrictModel, built
from dit_accel.errors import PlanError, Problem

# Of a few weights: half precision moves a number by 0.4 % at most, training by far more.
_WEIGHT_TOLERANCE = 0.01
_NUM_WEIGHTS = 16
# They keep their names and their values under fused projections, adapters and quantised attention.
_MARKED = ("proj_out", "pos_embed", ".ff.net.")


def _pairs(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return tuple((str(key), item) for key, item in sorted(value.items()))


Settings: TypeAlias = Annotated[
    tuple[tuple[str, str], ...], BeforeValidator(_pairs), PlainSerializer(dict)
]
"""A mapping of texts to texts, kept so that a plan can be hashed."""


Target: TypeAlias = Literal["converged", "dense"]
"""What final latents should come near to."""

TARGETS: tuple[str, ...] = get_args(Target)


class Expected(StrictModel):
    """What was measured on the seeds of the calibration.

    Args:
        speedup_macs: MACs of the dense run divided by the plan's.
        speedup: seconds of the dense run divided by the plan's, both with the plan's `exact`.
        seconds: of the plan's denoising loop for one batch of `batch_size`.
        batch_size: samples at a time.
        latent_error: norm of the difference of the final latents to the target's, relative to
            those; geometric mean over the samples.
    """

    speedup_macs: float
    speedup: float
    seconds: float
    batch_size: int
    latent_error: float


class Calibration(StrictModel):
    """`calibration: {…}`, as `dit_accel.calibrate` writes it.

    Args:
        model: hash of the transformer's class and config.
        weights: a few of its weights.
        scheduler: class of the solver.
        scheduler_config: its settings, each as JSON.
        num_inference_steps: evaluations of the run.
        guidance_scale: of the run. The transformer sees only whether there is guidance at all;
            the commands compare the value.
        target: what the final latents were fitted to come near to: those of the `dense` run of
            as many steps, or of the trajectory that it `converged` to with many more.
        check: refuse other runs.
        seeds: of the trajectories that were fitted to.
        expected: what was measured on them.
        versions: of the libraries that did it.
    """

    model: str
    weights: tuple[float, ...]
    scheduler: str
    scheduler_config: Settings = ()
    num_inference_steps: Annotated[int, Field(ge=1)]
    guidance_scale: Annotated[float, Field(ge=0.0)] = 1.0
    target: Target = "dense"
    check: bool = True
    seeds: tuple[int, ...] = ()
    expected: Annotated[Expected | None, built(Expected)] = None
    versions: Settings = ()

    @property
    def guided(self) -> bool:
        """Whether the run had guidance."""
        return self.guidance_scale > 1

    def to_dict(self) -> dict[str, Any]:
        """As a plan file holds it."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def check_model(self, transformer: nn.Module) -> None:
        """Refuse another transformer; weights that are not there (`meta`) are not compared.

        Raises:
            PlanError: naming what differs.
        """
        found = model_hash(transformer)
        problems = []
        if found != self.model:
            problems.append(f"model: this transformer's config has hash {found}, not {self.model}")
        elif not same_weights(sampled_weights(transformer), self.weights):
            problems.append("model: the config is the same, but the weights are others")
        self._refuse(problems)

    def check_run(
        self,
        scheduler: Any = None,
        num_steps: int | None = None,
        guided: bool | None = None,
        guidance_scale: float | None = None,
    ) -> None:
        """Refuse another run; what is `None` is not known and not compared.

        Raises:
            PlanError: naming everything that differs.
        """
        problems = [] if scheduler is None else self._other_scheduler(scheduler)
        if num_steps is not None and num_steps != self.num_inference_steps:
            problems.append(
                f"num_inference_steps: {num_steps} here, {self.num_inference_steps} calibrated"
            )
        if guided is not None and guided != self.guided:
            here = "on" if guided else "off"
            problems.append(f"guidance: {here} here, {self.guidance_scale} calibrated")
        elif guidance_scale is not None and not self._same_guidance(guidance_scale):
            problems.append(
                f"guidance_scale: {guidance_scale} here, {self.guidance_scale} calibrated"
            )
        self._refuse(problems)

    def _same_guidance(self, scale: float) -> bool:
        # Without guidance every scale up to 1 is the same run.
        return scale <= 1 if not self.guided else math.isclose(scale, self.guidance_scale)

    def _other_scheduler(self, scheduler: Any) -> list[str]:
        name, known = type(scheduler).__name__, dict(self.scheduler_config)
        if name != self.scheduler:
            return [f"scheduler: {name} here, {self.scheduler} calibrated"]
        # Settings that only one of two versions of diffusers knows are not compared.
        return [
            f"scheduler.{key}: {value} here, {known[key]} calibrated"
            for key, value in scheduler_settings(scheduler)
            if known.get(key, value) != value
        ]

    def _refuse(self, problems: list[str]) -> None:
        if problems and self.check:
            remedy = (
                "run dit-accel calibrate (dit_accel.calibrate) for this run, choose a plan that is"
                " not calibrated, or set calibration.check: false to use this one all the same"
            )
            refused = [Problem("calibration", problem) for problem in problems]
            raise PlanError(
                *refused, f"the plan was fitted to another run; {remedy}", source="plan"
            )


def model_hash(transformer: Any) -> str:
    """The first 16 hex digits of the SHA-256 of a transformer's class and config."""
    config = {key: value for key, value in transformer.config.items() if key[:1] != "_"}
    document = [type(transformer).__name__, config]
    text = json.dumps(document, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@torch.no_grad()
def sampled_weights(transformer: nn.Module) -> tuple[float, ...]:
    """One number of each of some matrices spread over the model; none where they are not there."""
    found = [
        parameter
        for name, parameter in sorted(transformer.named_parameters())
        if parameter.ndim > 1 and any(m in name for m in _MARKED) and "lora" not in name
    ]
    if not found or any(parameter.is_meta for parameter in found):
        return ()
    chosen = found[:: max(1, len(found) // _NUM_WEIGHTS)][:_NUM_WEIGHTS]
    numbers = torch.stack([each.flatten()[each.numel() // 2].float().cpu() for each in chosen])
    return tuple(float(f"{number:.6g}") for number in numbers.tolist())


def same_weights(found: tuple[float, ...], known: tuple[float, ...]) -> bool:
    """Whether samples of weights agree; nothing is known of a model without any."""
    if not found or not known:
        return True
    pairs = zip(found, known, strict=False)
    return len(found) == len(known) and all(
        math.isclose(a, b, rel_tol=_WEIGHT_TOLERANCE, abs_tol=1e-6) for a, b in pairs
    )


def scheduler_settings(scheduler: Any) -> tuple[tuple[str, str], ...]:
    """The settings of a solver, each as JSON, sorted."""
    settings = {
        key: json.dumps(value, default=str)
        for key, value in scheduler.config.items()
        if key[:1] != "_"
    }
    return tuple(sorted(settings.items()))
