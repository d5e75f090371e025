"""What a benchmark runs: dense, every plan, and dense with fewer steps of three solvers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dit_accel.errors import DitAccelError, mismatch
from dit_accel.plan import Plan
from dit_accel.sampling.solvers import DETERMINISTIC_SOLVERS, check_solver

RIVAL_SOLVERS = ("DDIM", "DPMSolver++", "UniPC")
# What plans of a speed-up between 1.3 and 3 have to be compared with.
RIVAL_FRACTIONS = (0.75, 0.5, 0.35)
CONVERGED_SOLVER, CONVERGED_STEPS = "UniPC", 100

Kind = Literal["dense", "plan", "fewer_steps"]


@dataclass(frozen=True)
class Base:
    """A solver with its number of steps: the dense run that plans start from."""

    solver: str
    num_inference_steps: int

    def __str__(self) -> str:
        return f"{self.solver} {self.num_inference_steps}"


@dataclass(frozen=True)
class Candidate:
    """One row of a benchmark; ``base`` is the dense run that it is compared with."""

    kind: Kind
    label: str
    run: Base
    base: Base
    plan: Plan

    @property
    def name(self) -> str:
        """Unique within a benchmark."""
        return f"{self.label}, {self.run}"


def parse_base(text: str, default_steps: int) -> Base:
    """Read ``UniPC`` or ``UniPC:20``.

    Raises:
        DitAccelError: an unknown solver, a stochastic one, or steps that are no positive number.
    """
    solver, _, steps = text.partition(":")
    if check_solver(solver) not in DETERMINISTIC_SOLVERS:
        expected = f"a deterministic solver ({', '.join(DETERMINISTIC_SOLVERS)})"
        remedy = "noise drawn on the way leaves nothing to compare picture by picture"
        raise DitAccelError("scheduler: " + mismatch(solver, expected, remedy))
    if steps and not (steps.isdigit() and int(steps) > 0):
        raise DitAccelError("scheduler: " + mismatch(text, "NAME or NAME:STEPS", "as in UniPC:20"))
    return Base(solver, int(steps) if steps else default_steps)


def candidates(
    bases: Sequence[Base], plans: Mapping[str, Plan], *, with_rivals: bool
) -> list[Candidate]:
    """All rows: for each base dense and every plan, then dense with fewer steps.

    Rivals get fractions of the smallest number of steps among the bases: a plan on 50 steps of a
    slow solver has to beat a good solver too.

    Args:
        bases: solvers with their steps; the first is the one rivals are compared with.
        plans: by name.
        with_rivals: whether dense runs with fewer steps are wanted (not where no fidelity is).
    """
    rows = []
    for base in bases:
        rows.append(Candidate("dense", "dense", base, base, Plan()))
        rows += [Candidate("plan", name, base, base, plan) for name, plan in plans.items()]
    if not with_rivals:
        return rows
    reference = min(bases, key=lambda base: base.num_inference_steps)
    known = {row.run for row in rows if row.kind == "dense"}
    for solver in RIVAL_SOLVERS:
        for fraction in RIVAL_FRACTIONS:
            run = Base(solver, max(1, round(fraction * reference.num_inference_steps)))
            if run not in known:
                known.add(run)
                rows.append(Candidate("fewer_steps", "dense", run, reference, Plan()))
    return rows
