"""Sparse-dense blocks: most of the network on a coarse grid, adapted by training.

FlexDiT / SparseDiT (arXiv 2412.06028). Every block of the pretrained model stays, in its place and
with its weights; `SparseLayout` says what it does. Its self-attention is, by role, over

- pool: the mean of the values (`dit_accel.nn.pooling_attention`);
- merge: queries of the sparse tokens, keys and values of the dense map that the segment began with;
- sparse: the sparse tokens;
- recover: queries of the recovered dense map, keys and values of the sparse tokens.

Queries and keys are modulated alike, by the block's own norm, shift and scale. In form `delta` keys
of the sparse tokens are weighed by the sizes of their cells, where these differ. Text
cross-attention and feed-forward act on the tokens that carry the queries. A step whose grid is the
full one is the dense model, bit for bit, whatever the new parts have learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from dit_accel.errors import PlanError, Problem
from dit_accel.methods.cell import Cell
from dit_accel.methods.coarse_grid import CoarseGrid
from dit_accel.methods.registry import register
from dit_accel.methods.sparse_layout import Place, SparseLayout, default_layout
from dit_accel.span import WHOLE
from dit_accel.tokens.grid import Grid

if TYPE_CHECKING:
    from dit_accel.plan import Plan

Form = Literal["delta", "paper"]


@dataclass(frozen=True)
class SparseCell:
    """What a block does at a step whose grid is coarser than the model's.

    Attributes:
        place: its role, and its place in its segment.
        full: the model's grid.
        grid: that of the sparse tokens.
    """

    place: Place
    full: Grid
    grid: Grid

    @property
    def replaces_attention(self) -> bool:
        """Whether its self-attention is over other tokens than the block's own."""
        return self.place.role != "sparse"

    def __str__(self) -> str:
        return "pool mean" if self.place.role == "pool" else f"{self.place.role} {self.grid}"


@register("density", kind="sparse")
class SparseDensity(CoarseGrid):
    """`density: {kind: sparse, grid: [8, 8], layout: {…}, form: delta, detail: true}`.

    Args:
        pool, grid, steps: the size and when (`CoarseGrid`): few tokens early, more late.
        layout: what each block does; by default derived from the depth of the model.
        form: `delta` begins as `x + U(F(Px) - Px)`; `paper` recovers as published, and is far from
            the dense model until it is trained.
        detail: whether form `delta` learns a matrix for what pooling leaves out, too; it costs as
            much as a linear layer on all tokens, once a segment.
    """

    kind: Literal["sparse"] = "sparse"
    layout: SparseLayout | None = None
    form: Form = "delta"
    detail: bool = True

    @model_validator(mode="after")
    def _fits_form(self) -> SparseDensity:
        if self.form == "paper" and not self.detail:
            raise ValueError(
                "expected form: delta where detail is false, because the recovery of form: paper"
                " always has a matrix for the dense tokens; remove detail, or form"
            )
        if self.layout is None:
            return self
        merge, _, recover, _ = self.layout.group
        if self.form == "delta" and merge > 1:
            raise ValueError(
                f"expected at most one merge block in layout.group {list(self.layout.group)} of"
                " form delta, because a second one would read the dense map of the segment's start"
                " again; use form: paper, or sparse blocks"
            )
        if self.form == "paper" and not recover:
            raise ValueError(
                f"expected one recovery block in layout.group {list(self.layout.group)} of form"
                " paper; use form: delta, or add one"
            )
        return self

    def layout_for(self, num_layers: int) -> SparseLayout:
        """The layout on a model of so many blocks.

        Raises:
            PlanError: it does not fit.
        """
        if self.layout is None:
            return default_layout(num_layers)
        self.layout.check(num_layers)
        return self.layout

    def decides_parts(self, num_layers: int) -> dict[str, Any]:
        """What its learned parts are for on such a model, by field; they serve any grid.

        Raises:
            PlanError: the layout does not fit.
        """
        layout = self.layout_for(num_layers).model_dump(mode="json")
        return {"form": self.form, "detail": self.detail, "layout": layout}

    def operator(self, cell: Cell) -> SparseCell | None:
        """What the block of this cell does; `None` where it is dense."""
        place = self.layout_for(cell.num_layers).places()[cell.layer]
        grid = self.pooled_grid(cell.grid, cell.fraction)
        if place.role == "dense" or grid == cell.grid or not cell.within(WHOLE, self.steps):
            return None
        return SparseCell(place, full=cell.grid, grid=grid)

    def problems_on(self, num_layers: int, plan: Plan) -> list[Problem]:
        """A layout of another depth, and caches that would cut a segment in two."""
        try:
            segments = self.layout_for(num_layers).spans
        except PlanError as error:
            return list(error.problems)
        return [
            Problem(place, _cuts(remembered, segment))
            for place, remembered in plan.remembered_spans(num_layers)
            for segment in segments
            if 0 < len(set(remembered) & set(segment)) < len(segment)
        ]


def _cuts(remembered: range, segment: range) -> str:
    return (
        f"it remembers blocks {remembered[0]}..{remembered[-1]}, expected all or none of the blocks"
        f" {segment[0]}..{segment[-1]} that density runs on fewer tokens, because histories are of"
        " the full grid; move the ends of the cache (site deep, first and last), or use site model"
    )
