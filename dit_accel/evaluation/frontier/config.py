"""What ``configs/eval/caching_*.yaml`` may say: dense runs, plans and peers to be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dit_accel.calibration_record import Target
from dit_accel.configuration.overrides import read_config
from dit_accel.configuration.strict_model import StrictModel
from dit_accel.errors import PlanError, Problem, mismatch
from dit_accel.evaluation.frontier.fields import BaseField, DenseField, GridField
from dit_accel.evaluation.peers.dual_block import CacheDit
from dit_accel.evaluation.peers.first_block import DiffusersFirstBlock
from dit_accel.evaluation.peers.peer import Peer
from dit_accel.evaluation.peers.taylorseer import DiffusersTaylorSeer
from dit_accel.measure.candidates import CONVERGED_SOLVER, CONVERGED_STEPS, Base
from dit_accel.sampling.sample_config import DataConfig

PEERS: dict[str, type[Peer]] = {
    "diffusers_first_block": DiffusersFirstBlock,
    "diffusers_taylorseer": DiffusersTaylorSeer,
    "cache_dit": CacheDit,
}


class SeedRange(StrictModel):
    """Seeds ``first … first + count - 1``, each with the condition of its own number."""

    first: int = Field(default=0, ge=0)
    count: int = Field(default=32, ge=2, description="two or more, for an interval of the mean")

    @property
    def seeds(self) -> range:
        """All of them."""
        return range(self.first, self.first + self.count)


class PlanRuns(StrictModel):
    """A plan of ours, and the dense runs it is put on."""

    plan: Any = Field(
        default=None, description="preset, YAML path, folder of a calibrated plan, or a plan"
    )
    bases: tuple[BaseField, ...] = Field(min_length=1)
    calibrated: bool = Field(default=False, description="fitted to this model")


class CalibratedRuns(StrictModel):
    """Plans that `calibrate` fits to this model, one for each speed-up."""

    base: BaseField
    speedups: tuple[Annotated[float, Field(gt=1)], ...] = Field(
        min_length=1, description="over the dense run of as many steps, in MACs"
    )
    target: Target = Field(default="converged", description="what their latents come near to")


class PeerRuns(StrictModel):
    """All settings of a grid of somebody else's cache, and the dense runs they are put on."""

    kind: Literal["diffusers_first_block", "diffusers_taylorseer", "cache_dit"]
    grid: GridField = Field(default_factory=dict)
    bases: tuple[BaseField, ...] = Field(min_length=1)

    @property
    def peers(self) -> list[Peer]:
        """One for every combination of the grid's values.

        Raises:
            PlanError: a key or value that this peer does not take.
        """
        names, values = list(self.grid), list(self.grid.values())
        try:
            return [
                PEERS[self.kind](**dict(zip(names, chosen, strict=True)))
                for chosen in product(*values)
            ]
        except PlanError as error:
            raise PlanError(*(problem.under("grid") for problem in error.problems)) from None

    @model_validator(mode="after")
    def _every_setting_exists(self) -> PeerRuns:
        _ = self.peers
        return self


class FrontierConfig(StrictModel):
    """One frontier of one model. Everything runs with the exact rewrites on, dense too.

    Plans are chosen on ``selection_seeds`` and reported on ``report_seeds``, which share none.
    """

    title: str
    model: str = Field(description="dit-photos, pixart-photos, or a diffusers pipeline folder")
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    guidance_scale: float = Field(default=1.5, ge=0)
    data: DataConfig
    selection_seeds: SeedRange = SeedRange()
    report_seeds: SeedRange = SeedRange(first=32)
    batch_size: int = Field(default=8, gt=0, description="pictures at a time, for fidelity")
    timed_images: int = Field(default=4, gt=0, description="pictures of the timed batch")
    rounds: int = Field(default=5, gt=0, description="measured rounds, interleaved")
    dense: DenseField = Field(min_length=2)
    reference: BaseField = Field(
        default=Base("DDIM", 50), description="dense run that times are relative to"
    )
    converged: BaseField = Base(CONVERGED_SOLVER, CONVERGED_STEPS)
    goals: tuple[BaseField, ...] = Field(
        default=(Base("DDIM", 50), Base("DPMSolver++", 25)),
        description="dense runs whose error is to be reached in less time",
    )
    speed_ups: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(2.0, 3.0, 4.5), description="over the reference, to compare fidelities at"
    )
    plans: dict[str, PlanRuns] = Field(default_factory=dict)
    calibrated: tuple[CalibratedRuns, ...] = ()
    calibration_seeds: int = Field(default=16, gt=0, description="the first of selection_seeds")
    peers: tuple[PeerRuns, ...] = ()
    output: str = "runs/caching"

    @model_validator(mode="after")
    def _compares_what_is_there(self) -> FrontierConfig:
        problems = [*self._missing_dense(), *self._shared_seeds(), *self._too_few_seeds()]
        if problems:
            raise PlanError(*problems)
        return self

    def _missing_dense(self) -> Iterator[Problem]:
        """Every run that something is compared with has to be among the dense ones."""
        wanted = [("reference", self.reference)]
        wanted += [(f"goals[{i}]", base) for i, base in enumerate(self.goals)]
        wanted += [
            (f"plans.{name}.bases", base)
            for name, runs in self.plans.items()
            for base in runs.bases
        ]
        wanted += [
            (f"peers[{i}].bases", base) for i, runs in enumerate(self.peers) for base in runs.bases
        ]
        wanted += [(f"calibrated[{i}].base", runs.base) for i, runs in enumerate(self.calibrated)]
        for place, base in wanted:
            if base not in self.dense:
                remedy = f"add {base.num_inference_steps} to dense.{base.solver}"
                text = mismatch(_short(base), "one of the dense runs", remedy)
                yield Problem(place, text)

    def _too_few_seeds(self) -> Iterator[Problem]:
        if self.calibrated and self.calibration_seeds > self.selection_seeds.count:
            expected = f"at most the {self.selection_seeds.count} selection seeds"
            yield Problem(
                "calibration_seeds", mismatch(self.calibration_seeds, expected, "lower it")
            )

    def _shared_seeds(self) -> Iterator[Problem]:
        chosen, reported = self.selection_seeds.seeds, self.report_seeds.seeds
        if set(chosen) & set(reported):
            text = mismatch(
                f"{reported[0]} to {reported[-1]}",
                f"none of the selection seeds {chosen[0]} to {chosen[-1]}",
                f"set report_seeds.first to {chosen[-1] + 1}",
            )
            yield Problem("report_seeds", text)


def _short(base: Base) -> str:
    return f"{base.solver}:{base.num_inference_steps}"


def load_frontier(path: str | Path, assignments: Sequence[str] = ()) -> FrontierConfig:
    """Read a frontier's YAML file, with ``--set`` assignments applied.

    Raises:
        PlanError: naming every key or value that does not fit.
    """
    return read_config(FrontierConfig, path, assignments)
