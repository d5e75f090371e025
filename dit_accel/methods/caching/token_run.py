"""The run state of a cache at site `tokens`: full steps, and some tokens in between.

In a step between, with `f` the forecast of a feed-forward from its full steps and `c` a correction,

    current = f + c,    current[chosen] = feed_forward(input[chosen]),    c <- current - f

so that a computed token goes on from its own value by the trend of the full steps, until the next
of them. Where one snapshot is kept the forecast is that snapshot, and `current` is written over it,
as released. ClusCa's release writes over the newest of several snapshots, which advances the
computed tokens twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.cache_run import Mode
from dit_accel.methods.caching.choosers.chooser import TokenChooser
from dit_accel.methods.caching.module_run import ModuleCell, ModuleForward, ModulePart
from dit_accel.methods.caching.policies.token_policy import TokenPolicy
from dit_accel.methods.caching.sites.site import ModuleName
from dit_accel.run_state import Position
from dit_accel.tokens.grid import Grid


class TokenCell(ModuleCell):
    """The feed-forward of one layer, as its hook runs it.

    Attributes:
        count: tokens that are computed in this step, where it is no full one.
    """

    def __init__(
        self, part: ModulePart, layer: int, chooser: TokenChooser, reads_outputs: bool
    ) -> None:
        super().__init__(part, layer)
        self.count = 0
        self._chooser, self._reads_outputs = chooser, reads_outputs
        self._correction: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the correction and of the chooser."""
        correction = 0 if self._correction is None else self._correction.nbytes
        return correction + self._chooser.nbytes

    # Their number changes with step and layer, and every number would be compiled by itself.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, forward: ModuleForward, hidden_states: torch.Tensor) -> torch.Tensor:
        """`[P, N, C] -> [P, N, C]`."""
        if self.part.computes:
            return self._full(forward, hidden_states)
        current = self._current()
        chosen = self._chooser.choose(self.count)
        if not self.count:
            return current.to(hidden_states.dtype)
        index = chosen[..., None].expand(-1, -1, hidden_states.shape[2])
        fresh = forward(hidden_states.gather(1, index))
        renewed = self._chooser.renewed(current, fresh, chosen)
        self._keep(renewed.detach(), current)
        return renewed.to(hidden_states.dtype)

    def _full(self, forward: ModuleForward, hidden_states: torch.Tensor) -> torch.Tensor:
        output = super().__call__(forward, hidden_states)
        if self._correction is not None:
            self._correction[self._present].zero_()
        if self._reads_outputs:
            self._chooser.note(output)
        return output

    @property
    def _present(self) -> slice:
        rows = self.part.memory.rows
        return slice(rows.start, rows.stop)

    def _current(self) -> torch.Tensor:
        forecast = self.part.memory.forecast(self.ring)
        if self._correction is None:
            return forecast
        return forecast + self._correction[self._present]

    def _keep(self, renewed: torch.Tensor, current: torch.Tensor) -> None:
        buffer = self.ring.buffer
        assert buffer is not None
        if self.ring.capacity == 1:
            buffer[0, self._present] = renewed
            return
        if self._correction is None:
            self._correction = torch.zeros_like(buffer[0])
        self._correction[self._present] += renewed - current


class TokenRun:
    """Decisions and memories of one branch.

    Args:
        config: the cache.
        num_samples: samples of the batch.
        rows_per_sample: 2 where two guidance rows belong together.
        num_layers: blocks of the model.
        modules: those of the site that its blocks have.
        grid: of the tokens.
        seed: of the plan.

    Attributes:
        cells: by module and layer, what the hooks run.
        choosers: by layer.
        rows: the rows that are present, of all rows of the batch.
    """

    def __init__(
        self,
        config: CacheConfig,
        num_samples: int,
        rows_per_sample: int,
        num_layers: int,
        modules: Sequence[ModuleName],
        grid: Grid,
        seed: int,
    ) -> None:
        assert isinstance(config.policy, TokenPolicy)
        self.config, self.rows_per_sample = config, rows_per_sample
        self.num_rows = num_samples * rows_per_sample
        self.rows = range(self.num_rows)
        self._policy = config.policy
        self._num_layers, self._num_tokens = num_layers, grid.size
        layers = config.site.module_layers(num_layers)
        self.choosers = self._policy.choosers(layers, self.num_rows, grid, seed)
        self._parts = {name: ModulePart(config, self.num_rows, layers) for name in modules}
        self.cells: dict[tuple[ModuleName, int], ModuleCell] = {
            (name, layer): ModuleCell(part, layer)
            for name, part in self._parts.items()
            for layer in layers
        }
        reads_outputs = self._policy.reads == "outputs"
        self._chosen = {
            layer: TokenCell(self._parts["feed_forward"], layer, chooser, reads_outputs)
            for layer, chooser in self.choosers.items()
        }
        self.cells |= {("feed_forward", layer): cell for layer, cell in self._chosen.items()}
        self._last: int | None = None

    def separate_rows(self) -> None:
        """Every row turns out to be a sample of its own."""
        self.rows_per_sample = 1

    def begin_step(self, position: Position, rows: range | None, device: torch.device) -> None:
        """A forward begins, in which these rows are present; all if `None`."""
        self.rows = range(self.num_rows) if rows is None else rows
        action = self._policy.action(
            position.step, self._last, position.fraction, position.num_steps
        )
        if self._last is None or action == "compute":
            self._last = position.step
        for part in self._parts.values():
            part.begin_step(position.step, self.rows, action == "compute", device)
        together = len(self.rows) * self.rows_per_sample // self.num_rows
        for layer, cell in self._chosen.items():
            self.choosers[layer].begin_step(position.step, self.rows, together, device)
            cell.count = self._policy.count(
                position, self._last, layer, self._num_layers, self._num_tokens
            )

    @property
    def _is_full(self) -> bool:
        return self._parts["feed_forward"].computes

    @property
    def extent(self) -> float:
        """Share of the feed-forwards' tokens that are computed in this step."""
        if self._is_full:
            return 1.0
        counts = [cell.count for cell in self._chosen.values()]
        return sum(counts) / (len(counts) * self._num_tokens)

    @property
    def mode(self) -> Mode:
        """Whether all modules run, some tokens of the feed-forwards, or none."""
        return "all" if self._is_full else "some" if self.extent else "none"

    @property
    def need(self) -> list[bool]:
        """Whether each sample has a full step."""
        return [self._is_full] * (self.num_rows // self.rows_per_sample)

    @property
    def nbytes(self) -> int:
        """Bytes remembered now."""
        memories = sum(part.memory.nbytes for part in self._parts.values())
        return memories + sum(cell.nbytes for cell in self._chosen.values())
