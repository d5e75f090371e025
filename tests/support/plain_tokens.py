"""ToCa and ClusCa in a plain loop: feed-forwards run whole, and what is not chosen is replaced.

Nothing is gathered, scores are made token by token in numpy, and rows are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from references import extrapolate
from tiny_models import TinyFamily
from torch import Tensor

from dit_accel.tokens.match import mix_seed

SIDE = 8
Choose = Callable[["PlainTokens", int], list[set[int]]]
"""The tokens of each sample that are computed in a layer now."""


class PlainTokens:
    """Hooks on a stock transformer in float64, whose rows are pairs of guidance rows.

    Args:
        family: of the model.
        full: full steps.
        order: of the forecasts.
        choose: what is computed in between.
        mix: how the outputs of one row change once those of some tokens are known, `None` to put
            them in place.
    """

    def __init__(
        self,
        family: TinyFamily,
        full: set[int],
        order: int,
        choose: Choose,
        mix: Callable[[PlainTokens, Tensor, Tensor, set[int], int], Tensor] | None = None,
    ) -> None:
        self.full, self.order, self.choose, self.mix = full, order, choose, mix
        self.transformer = family.transformer(dtype=torch.float64)
        self.step = -1
        self.history: dict[tuple[str, int], list[tuple[float, Tensor]]] = {}
        self.correction: dict[int, Tensor] = {}
        self.norms: dict[int, np.ndarray[Any, Any]] = {}
        self.age: dict[int, np.ndarray[Any, Any]] = {}
        self.output: dict[int, Tensor] = {}
        self.transformer.register_forward_pre_hook(self._next)
        for layer, block in enumerate(self.transformer.transformer_blocks):
            block.attn1.to_v.register_forward_hook(partial(self._values, layer))
            block.attn1.register_forward_hook(partial(self._attention, "attn1", layer))
            if block.attn2 is not None:
                block.attn2.register_forward_hook(partial(self._attention, "attn2", layer))
            block.ff.register_forward_hook(partial(self._feed_forward, layer))

    def _next(self, *_: Any) -> None:
        self.step += 1

    def _values(self, layer: int, _module: Any, _args: Any, output: Tensor) -> None:
        if self.step in self.full:
            norms = output.norm(dim=-1).numpy()
            self.norms[layer] = norms / np.linalg.norm(norms, axis=1, keepdims=True)
            self.age[layer] = np.zeros((len(norms) // 2, norms.shape[1]))

    def _replaced(self, name: str, layer: int, output: Tensor) -> Tensor:
        history = self.history.setdefault((name, layer), [])
        if self.step in self.full:
            history.append((self.step, output))
            return output
        return extrapolate(history, self.step, self.order)

    def _attention(self, name: str, layer: int, _module: Any, _args: Any, output: Tensor) -> Tensor:
        return self._replaced(name, layer, output)

    def _feed_forward(self, layer: int, _module: Any, _args: Any, output: Tensor) -> Tensor:
        trend = self._replaced("ff", layer, output)
        if self.step in self.full:
            self.correction[layer] = torch.zeros_like(output)
            self.output[layer] = output
            return output
        current = trend + self.correction[layer]
        chosen = self.choose(self, layer)
        mixed = current.clone()
        for row in range(len(output)):
            sample = row % len(chosen)
            if self.mix is not None:
                mixed[row] = self.mix(self, current[row], output[row], chosen[sample], sample)
            for token in chosen[sample]:
                mixed[row, token] = output[row, token]
        self.correction[layer] = mixed - trend
        return mixed


def most_important(count: Callable[[int, int], int], interval: int) -> Choose:
    """ToCa's score on value norms: mean of both rows, staleness 0.25, 60 % for the best of 2x2.

    Args:
        count: tokens of (layer, step).
        interval: from one full step to the next.
    """

    def choose(state: PlainTokens, layer: int) -> list[set[int]]:
        norms, age = state.norms[layer], state.age[layer]
        found = []
        for sample in range(len(age)):
            scores = (norms[sample] + norms[sample + len(age)]) / 2
            scores = scores + 0.25 * age[sample] / interval
            gained = scores.copy()
            for top in range(0, SIDE, 2):
                for left in range(0, SIDE, 2):
                    cell = [y * SIDE + x for y in (top, top + 1) for x in (left, left + 1)]
                    gained[max(cell, key=lambda token: scores[token])] *= 1.6
            order = np.argsort(-gained, kind="stable")
            chosen = set(order[: count(layer, state.step)].tolist())
            age[sample] += 1
            age[sample, list(chosen)] = 0
            found.append(chosen)
        return found

    return choose


def one_of_each_cluster(num_clusters: int, seed: int) -> Choose:
    """ClusCa's choice: in each cluster the token that was drawn highest for (seed, layer, step)."""

    def choose(state: PlainTokens, layer: int) -> list[set[int]]:
        generator = torch.Generator().manual_seed(mix_seed(seed, layer, state.step))
        drawn = torch.rand(SIDE * SIDE, generator=generator).numpy()
        found = []
        for sample in range(len(state.output[layer]) // 2):
            clusters = clusters_of(state, sample, num_clusters)
            members = [np.flatnonzero(clusters == k) for k in range(num_clusters)]
            found.append({int(max(tokens, key=lambda t: drawn[t])) for tokens in members})
        return found

    return choose


def clusters_of(state: PlainTokens, sample: int, num_clusters: int) -> np.ndarray[Any, Any]:
    """k-means by city-block distance from evenly spaced tokens, ten moves, as plain loops."""
    last = state.output[len(state.transformer.transformer_blocks) - 1]
    rows = [last[sample], last[sample + len(last) // 2]]
    points = torch.cat(rows, dim=1).float().numpy()
    centres = points[[k * len(points) // num_clusters for k in range(num_clusters)]]

    def nearest() -> np.ndarray[Any, Any]:
        return np.array([np.abs(centres - point).sum(axis=1).argmin() for point in points])

    for _ in range(10):
        clusters = nearest()
        centres = np.stack([points[clusters == k].mean(axis=0) for k in range(num_clusters)])
    return nearest()


def towards_the_computed(num_clusters: int, blend: float) -> Any:
    """The other tokens of each cluster move a little."""

    def mix(
        state: PlainTokens, current: Tensor, output: Tensor, chosen: set[int], sample: int
    ) -> Tensor:
        clusters, mixed = clusters_of(state, sample, num_clusters), current.clone()
        speaker = {int(clusters[token]): token for token in chosen}
        for token in range(len(current)):
            fresh = output[speaker[int(clusters[token])]]
            mixed[token] = (1 - blend) * current[token] + blend * fresh
        return mixed

    return mix
