"""The step × layer picture of each plan, as paths of a scalable drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from dit_accel.measure.explain import Explanation
from dit_accel.reporting import units
from dit_accel.reporting.run_report.model import Run
from dit_accel.reporting.step_grid import cell_kinds

# Kinds beyond the palette share its colours from the third on, as in a terminal.
_COLOURS = 10


@dataclass(frozen=True)
class Kind:
    """Cells that compute alike: their name, their colour's number, how many, and their outline."""

    name: str
    colour: int
    cells: int
    path: str


@dataclass(frozen=True)
class PlanPicture:
    """One unit a step from left to right, one a layer upwards."""

    run: Run
    num_steps: int
    num_layers: int
    kinds: tuple[Kind, ...]
    macs: str

    @property
    def summary(self) -> str:
        """What the picture shows, in words."""
        total = self.num_steps * self.num_layers
        shares = ", ".join(f"{kind.name}: {kind.cells} of {total} cells" for kind in self.kinds)
        return f"{self.num_steps} steps × {self.num_layers} layers. {shares}."


def plan_picture(run: Run, explanation: Explanation) -> PlanPicture:
    """Draw what ``dit-accel explain`` would print for this run."""
    grid, names = cell_kinds(explanation)
    used = sorted({kind for row in grid for kind in row})
    kinds = tuple(
        Kind(
            name=names[kind],
            colour=kind if kind < 2 else 2 + (kind - 2) % (_COLOURS - 2),
            cells=sum(row.count(kind) for row in grid),
            path="".join(_rectangles(grid, kind)),
        )
        for kind in used
    )
    return PlanPicture(run, len(grid), explanation.num_layers, kinds, _macs(explanation))


def _rectangles(grid: Sequence[Sequence[int]], kind: int) -> Iterator[str]:
    """Neighbouring layers of one step in one piece; layer 0 at the bottom."""
    for step, row in enumerate(grid):
        layer = 0
        for found, group in groupby(row):
            height = len(list(group))
            if found == kind:
                yield f"M{step} {len(row) - layer - height}h1v{height}h-1z"
            layer += height


def _macs(explanation: Explanation) -> str:
    cost = explanation.cost
    plan, dense = units.macs(cost.macs_plan), units.macs(cost.macs_dense)
    most = "at most " if cost.data_dependent else ""
    saved = f"{explanation.macs_saved:.2f}× fewer"
    return f"{most}{plan} MACs an image, {dense} without the plan ({saved})"
