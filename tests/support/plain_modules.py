"""A plain loop with caches inside the blocks: two stock calls a step, torch hooks, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from references import extrapolate
from tiny_models import CHANNELS, TinyFamily, ddim, noise
from torch import Tensor

MODULES = {"attention": "attn1", "cross_attention": "attn2", "feed_forward": "ff"}

Rule = Callable[[int, int], int | None]
"""Layer and step to the order of the forecast, `None` where the module is computed."""


def at_steps(computed: set[int], order: int, layers: range = range(100)) -> Rule:
    """Computed at these steps, forecast by a polynomial at the others."""

    def rule(layer: int, step: int) -> int | None:
        return None if layer not in layers or step in computed else order

    return rule


class PlainModules:
    """Outputs of modules replaced by the polynomial through those of their computed steps.

    Args:
        family: of the model.
        rules: by module.
        guided: steps at which the unconditional rows are computed; all if `None`.
    """

    def __init__(
        self, family: TinyFamily, rules: Mapping[str, Rule], guided: set[int] | None = None
    ) -> None:
        self.family, self.rules, self.guided = family, rules, guided
        self.transformer = family.transformer(dtype=torch.float64)
        self.history: dict[tuple[str, str, int], list[tuple[float, Tensor]]] = {}
        self.deltas: list[Tensor] = []
        self.row, self.step = "", 0
        for name in rules:
            for layer, block in enumerate(self.transformer.transformer_blocks):
                module = getattr(block, MODULES[name])
                module.register_forward_hook(partial(self._leave, name, layer))

    def _leave(self, name: str, layer: int, _module: Any, _args: Any, output: Tensor) -> Tensor:
        history = self.history.setdefault((self.row, name, layer), [])
        order = self.rules[name](layer, self.step)
        if order is None or not history:
            history.append((self.step, output))
            return output
        return extrapolate(history, self.step, order)

    def _call(self, row: str, latents: Tensor, timestep: Any, condition: Any) -> Tensor:
        self.row = row
        times = torch.full((len(latents),), float(timestep), dtype=torch.float64)
        return self.transformer(latents, timestep=times, **condition).sample

    @torch.no_grad()
    def steps(self, samples: tuple[int, ...], num_steps: int) -> list[Tensor]:
        """Latents after each step."""
        family, scheduler, found = self.family, ddim(), []
        scheduler.set_timesteps(num_steps)
        latents = noise(samples, (8, 8), torch.float64)
        condition = family.condition(samples, torch.float64)
        null = family.null(len(samples), torch.float64)
        for self.step, timestep in enumerate(scheduler.timesteps):
            c = self._call("condition", latents, timestep, condition)
            if self.guided is None or self.step in self.guided:
                u = self._call("null", latents, timestep, null)
                self.deltas.append(c - u)
            else:
                u = c - self.deltas[-1]
            output = (u + 2.0 * (c - u))[:, :CHANNELS]
            latents = scheduler.step(output, timestep, latents).prev_sample
            found.append(latents)
        return found
