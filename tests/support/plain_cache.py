"""An independent reference of caches that decide: one sample, a stock transformer, torch hooks.

Every block runs in every step; where a step is forecast, a hook puts the forecast in place of what
the last block returns. Nothing of the methods is used.
"""

from __future__ import annotations

from typing import Any

import torch
from references import extrapolate
from tiny_models import TinyFamily
from torch import Tensor

import dit_accel


class PlainCache:
    """A policy says `needs` or overrides where it decides; `computed` is what came of it.

    Args:
        family: of the transformer.
        steps: of the run.
        order: of the polynomial forecast.
        calls: of the transformer in a step; the second one follows the first.
    """

    def __init__(self, family: TinyFamily, steps: int, order: int = 1, calls: int = 1) -> None:
        self.family, self.num_steps, self.order = family, steps, order
        self.transformer = family.transformer(dtype=torch.float64)
        self.histories: list[list[tuple[float, Tensor]]] = [[] for _ in range(calls)]
        self.step, self.call = -1, calls - 1
        self.computed: list[bool] = []
        self.start = torch.empty(0)
        blocks = self.transformer.transformer_blocks
        self.transformer.register_forward_pre_hook(self._begin, with_kwargs=True)
        self.transformer.register_forward_hook(self._end)
        blocks[0].register_forward_pre_hook(self._enter, with_kwargs=True)
        blocks[0].attn1.register_forward_pre_hook(self._look, with_kwargs=True)
        blocks[-1].register_forward_hook(self._leave)

    @property
    def history(self) -> list[tuple[float, Tensor]]:
        """Step and residual of what this call has computed, newest last."""
        return self.histories[self.call]

    @property
    def is_last(self) -> bool:
        return self.step == self.num_steps - 1

    def run(self, sample: int, guidance: str) -> list[Tensor]:
        """The latents of every step."""
        steps = self.family.steps_of(self.transformer, (sample,), self.num_steps, guidance)
        return list(steps)

    def _begin(self, _: Any, args: Any, kwargs: Any) -> None:
        self.call += 1
        if self.call == len(self.histories):
            self.step, self.call = self.step + 1, 0
            self.begin(args[0] if args else kwargs["hidden_states"])

    def _enter(self, _: Any, args: Any, kwargs: Any) -> None:
        self.start = args[0] if args else kwargs["hidden_states"]

    def _look(self, _: Any, args: Any, kwargs: Any) -> None:
        if self.call == 0:
            self.look(args[0] if args else kwargs["hidden_states"])

    def _leave(self, _: Any, args: Any, output: Tensor) -> Tensor:
        if self.computed[self.step]:
            self.history.append((self.step, output - self.start))
            return output
        return self.start + self.forecast()

    def _end(self, _: Any, args: Any, output: Any) -> None:
        if self.call == 0:
            self.end(output.sample)

    def decide(self, need: bool) -> None:
        """This step is computed, or not."""
        assert len(self.computed) == self.step
        self.computed.append(bool(need))

    def begin(self, latents: Tensor) -> None:
        """The first call of a step begins."""

    def look(self, modulated: Tensor) -> None:
        """What the first block's self-attention is given in it."""

    def end(self, output: Tensor) -> None:
        """What it returned."""

    def forecast(self) -> Tensor:
        """The residual in place of a computed one."""
        return extrapolate(self.history, self.step, self.order)


def assert_equal_to_plain(
    family: TinyFamily, plain: Any, got: list[Tensor], decided: list[Any], guidance: str
) -> int:
    """Each sample of a run beside a plain one of its own; returns how often they parted.

    Args:
        family: of the transformer.
        plain: makes a `PlainCache`.
        got: latents `[3, C, H, W]` of every step, of the samples 1, 2, 3.
        decided: for each call of the run, whether each sample was computed.
        guidance: how the run was guided.
    """
    calls = 2 if guidance == "separate" else 1
    for place, sample in enumerate((1, 2, 3)):
        reference = plain(family, calls)
        expected = reference.run(sample, guidance)
        assert [bool(step[place]) for step in decided[::calls]] == reference.computed
        for mine, other in zip(got, expected, strict=True):
            torch.testing.assert_close(mine[place], other[0], rtol=1e-7, atol=1e-7)
    if calls == 2:
        assert decided[::2] == decided[1::2]
    return sum(len(set(step)) == 2 for step in decided)


def accelerated_run(
    family: TinyFamily,
    cache: dict[str, Any],
    steps: int,
    guidance: str = "batched",
    samples: tuple[int, ...] = (1, 2, 3),
    **plan: Any,
) -> tuple[list[Tensor], Any]:
    """The latents of every step, and the accelerated transformer."""
    transformer = family.transformer(dtype=torch.float64)
    dit_accel.accelerate(transformer, {"cache": cache, **plan})
    announced = {"calls_per_step": 2} if guidance == "separate" else {}
    with dit_accel.run(transformer, steps, **announced):
        return list(family.steps_of(transformer, samples, steps, guidance)), transformer
