"""Which blocks of a model do what in a sparse-dense network: a layout as data.

FlexDiT / SparseDiT (arXiv 2412.06028): poolingformers at the bottom, modules of merge, sparse,
recovery and dense blocks in the middle, dense blocks at the top. DiT-XL/2 (28 blocks) has
``2 / 4 x [1, 3, 1, 1] / 2``. Two findings of the paper shape every default: sparse tokens in the
bottom blocks make training unstable, and a single module diverges.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from dit_accel.configuration.strict_model import StrictModel
from dit_accel.errors import PlanError, Problem

Role = Literal["pool", "merge", "sparse", "recover", "dense"]


@dataclass(frozen=True)
class Place:
    """What one block is.

    Attributes:
        role: what it does.
        segment: number of the density segment that it lies in, `None` outside of them.
        enters: whether the dense map is pooled before it.
        leaves: whether it is recovered after it; a recovery block does so before it.
    """

    role: Role
    segment: int | None = None
    enters: bool = False
    leaves: bool = False


class SparseLayout(StrictModel):
    """`layout: {pooling: 2, segments: 4, group: [1, 3, 1, 1], dense: 2}`, in order of execution.

    Args:
        pooling: blocks whose attention is the mean of the values.
        bottom: dense blocks after them.
        segments: how many modules follow.
        group: blocks of a module: merge, sparse, recover, dense. Without a recovery block the
            sparse blocks' change is added as it is (form `delta`).
        dense: dense blocks after the last module.
    """

    pooling: int = Field(default=0, ge=0)
    bottom: int = Field(default=0, ge=0)
    segments: int = Field(ge=1)
    group: tuple[int, int, int, int]
    dense: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _is_possible(self) -> SparseLayout:
        merge, sparse, recover, _ = self.group
        if min(self.group) < 0 or recover > 1 or merge + sparse < 1:
            raise ValueError(
                f"expected in group {list(self.group)} counts of at least 0 for [merge, sparse,"
                " recover, dense], one recovery block at most (it makes the tokens dense) and one"
                " merge or sparse block at least; write for instance group: [1, 3, 1, 1]"
            )
        return self

    @property
    def depth(self) -> int:
        """Blocks of the model that it is for."""
        return self.pooling + self.bottom + self.segments * sum(self.group) + self.dense

    @property
    def spans(self) -> list[range]:
        """The blocks of each density segment, its dense blocks left out."""
        first, length = self.pooling + self.bottom, sum(self.group)
        starts = [first + number * length for number in range(self.segments)]
        return [range(start, start + sum(self.group[:3])) for start in starts]

    def places(self) -> tuple[Place, ...]:
        """What each block is, in order."""
        return _places(self)

    def check(self, num_layers: int) -> None:
        """Refuse a model of another depth.

        Raises:
            PlanError: naming both depths, and the layout that would fit.
        """
        if self.depth != num_layers:
            raise PlanError(
                Problem(
                    "density.layout",
                    f"got {self} = {self.depth} blocks, expected {num_layers}, because the model"
                    f" has so many; leave layout out for {default_layout(num_layers)}, or change"
                    " the counts",
                )
            )

    def __str__(self) -> str:
        """As the paper writes it: ``2/4x[1,3,1,1]/2``."""
        bottom = f"{self.pooling}" + (f"+{self.bottom}" if self.bottom else "")
        return f"{bottom}/{self.segments}x[{','.join(map(str, self.group))}]/{self.dense}"


@functools.cache  # every block of every step asks
def _places(layout: SparseLayout) -> tuple[Place, ...]:
    bottom = [Place("pool")] * layout.pooling + [Place("dense")] * layout.bottom
    modules = [place for number in range(layout.segments) for place in _module(layout, number)]
    return (*bottom, *modules, *[Place("dense")] * layout.dense)


def _module(layout: SparseLayout, number: int) -> list[Place]:
    merge, sparse, recover, dense = layout.group
    counts: dict[Role, int] = {"merge": merge, "sparse": sparse, "recover": recover}
    roles = [role for role, count in counts.items() for _ in range(count)]
    last = len(roles) - 1
    inside = [
        Place(role, number, enters=index == 0, leaves=index == last and role != "recover")
        for index, role in enumerate(roles)
    ]
    return inside + [Place("dense")] * dense


@functools.cache
def default_layout(num_layers: int) -> SparseLayout:
    """A layout of the paper's proportions for any depth.

    A fourteenth of the blocks at either end, modules of five or six blocks between them, at least
    two where they find room; what is left over is dense at the top. 28 blocks: 2/4x[1,3,1,1]/2, 24:
    2/4x[1,2,1,1]/2, 12: 1/2x[1,2,1,1]/1.

    Raises:
        PlanError: there are fewer than 2 blocks.
    """
    if num_layers < 2:
        raise PlanError(
            Problem(
                "density.layout",
                f"got a model of {num_layers} block(s), expected at least 2: one to run on fewer"
                " tokens and one to recover; remove density",
            )
        )
    ends = max(1, round(num_layers / 14)) if num_layers > 3 else 0
    middle = num_layers - 2 * ends
    segments = max(2 if middle >= 6 else 1, round(middle / 5.5))
    length = middle // segments
    dense = min(1, max(0, length - 3))
    group = (1, length - 2 - dense, 1, dense)
    rest = middle - segments * length
    return SparseLayout(pooling=ends, segments=segments, group=group, dense=ends + rest)
