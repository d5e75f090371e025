"""The run state of a cache inside the blocks: which modules run now, and what the others put out.

One `ModuleRun` belongs to one cache of the plan and one guidance call of one run. Steps are decided
before they begin, by the step alone, layer by layer where the policy says so; rows own their
histories as they do at the other sites. Here is FORA's rule (arXiv 2407.01425) for each module:

    output_i = f(snapshots)    in place of    output_i = module(input_i)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.cache_run import Mode
from dit_accel.methods.caching.module_placement import layer_groups
from dit_accel.methods.caching.policies.policy import Policy
from dit_accel.methods.caching.ring import Ring
from dit_accel.methods.caching.sites.site import ModuleName
from dit_accel.methods.caching.span_memory import SpanMemory
from dit_accel.run_state import Position

ModuleForward = Callable[[torch.Tensor], torch.Tensor]


class ModulePart:
    """One kind of module in some layers, which are computed at the same steps.

    Args:
        config: the cache.
        num_rows: `R`, rows of the batch.
        layers: of the model.

    Attributes:
        memory: what is remembered.
        computes: whether the modules run in this step.
    """

    def __init__(self, config: CacheConfig, num_rows: int, layers: Sequence[int]) -> None:
        self.layers = tuple(layers)
        self.memory = SpanMemory(config, num_rows, [range(x, x + 1) for x in layers])
        self.computes = True

    def begin_step(self, step: int, rows: range, compute: bool, device: torch.device) -> None:
        """All rows that are present are computed, or none; all where one has no history."""
        self.memory.begin_step(step, None, rows)
        self.computes = compute or not all(self.memory.seen(row) for row in rows)
        if self.computes:
            self.memory.record(list(rows), device)
        else:
            self.memory.weigh(device)


class ModuleCell:
    """One module of one layer, as its hook runs it."""

    def __init__(self, part: ModulePart, layer: int) -> None:
        self.part = part
        self.ring: Ring = part.memory.rings[layer]

    def __call__(self, forward: ModuleForward, hidden_states: torch.Tensor) -> torch.Tensor:
        """`[P, N, C] -> [P, N, C]`."""
        memory = self.part.memory
        if self.part.computes:
            output = forward(hidden_states)
            memory.remember(self.ring, output, hidden_states, None)
            return output
        return memory.forecast(self.ring).to(hidden_states.dtype)


class ModuleRun:
    """Decisions and memories of one branch.

    Args:
        config: the cache, at a site with one module.
        num_samples: samples of the batch.
        rows_per_sample: 2 where two guidance rows belong together.
        num_layers: blocks of the model.

    Attributes:
        cells: by module and layer, what the hooks run.
        rows: the rows that are present, of all rows of the batch.
    """

    def __init__(
        self, config: CacheConfig, num_samples: int, rows_per_sample: int, num_layers: int
    ) -> None:
        self.config, self.rows_per_sample = config, rows_per_sample
        self.num_rows = num_samples * rows_per_sample
        self.rows = range(self.num_rows)
        groups = layer_groups(config, num_layers)
        self._parts = [ModulePart(config, self.num_rows, layers) for layers, _ in groups]
        self._policies: list[Policy] = [policy for _, policy in groups]
        self._last: list[int | None] = [None] * len(groups)
        (module,) = config.site.modules
        self.cells: dict[tuple[ModuleName, int], ModuleCell] = {
            (module, layer): ModuleCell(part, layer)
            for part in self._parts
            for layer in part.layers
        }

    def separate_rows(self) -> None:
        """Every row turns out to be a sample of its own."""
        self.rows_per_sample = 1

    def begin_step(self, position: Position, rows: range | None, device: torch.device) -> None:
        """A forward begins, in which these rows are present; all if `None`."""
        self.rows = range(self.num_rows) if rows is None else rows
        for index, (part, policy) in enumerate(zip(self._parts, self._policies, strict=True)):
            action = policy.action(
                position.step, self._last[index], position.fraction, position.num_steps
            )
            if action == "compute":
                self._last[index] = position.step
            part.begin_step(position.step, self.rows, action == "compute", device)

    @property
    def extent(self) -> float:
        """Share of the modules that run in this step."""
        counts = [(part.computes * len(part.layers), len(part.layers)) for part in self._parts]
        return sum(run for run, _ in counts) / sum(count for _, count in counts)

    @property
    def mode(self) -> Mode:
        """Whether all, some or none of them run."""
        extent = self.extent
        return "all" if extent == 1.0 else "some" if extent else "none"

    @property
    def need(self) -> list[bool]:
        """Whether each sample goes through any of them."""
        return [self.mode != "none"] * (self.num_rows // self.rows_per_sample)

    @property
    def nbytes(self) -> int:
        """Bytes remembered now."""
        return sum(part.memory.nbytes for part in self._parts)
