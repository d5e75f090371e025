"""Chooses one token of each cluster, another one in each step; the rest of it moves along."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dit_accel.forecast.decisions.token_clusters import (
    cluster_tokens,
    representatives,
    spread_fresh,
)
from dit_accel.forecast.rows import split_rows
from dit_accel.methods.caching.choosers.chooser import TokenChooser
from dit_accel.tokens.match import mix_seed


@dataclass
class SharedClusters:
    """Which cluster each token belongs to, long `[R, N]`, in all layers alike."""

    table: torch.Tensor | None = None


@dataclass(frozen=True)
class ClusterRule:
    """How tokens are clustered and drawn; see `dit_accel.forecast.decisions.token_clusters`."""

    num_tokens: int
    clusters: int
    iterations: int
    blend: float
    seed: int


class ClusterChooser(TokenChooser):
    """Draws from the clusters that the last layer found in the last full step.

    Args:
        num_rows: rows of the batch.
        rule: what the policy says.
        layer: of the model.
        shared: by all layers.
        finds: whether this layer makes the clusters, from its own outputs.
    """

    def __init__(
        self, num_rows: int, rule: ClusterRule, layer: int, shared: SharedClusters, finds: bool
    ) -> None:
        super().__init__(num_rows)
        self._rule, self._layer, self._shared, self._finds = rule, layer, shared, finds
        self._priority: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the clusters, where this layer makes them."""
        table = self._shared.table
        return table.nbytes if self._finds and table is not None else 0

    def begin_step(
        self, step: int, rows: range, rows_per_sample: int, device: torch.device
    ) -> None:
        """Draw for (seed, layer, step), the same for all samples and batch sizes."""
        super().begin_step(step, rows, rows_per_sample, device)
        seed = mix_seed(self._rule.seed, self._layer, step)
        drawn = torch.rand(
            self._rule.num_tokens, generator=torch.Generator().manual_seed(seed), device="cpu"
        )
        self._priority = drawn.to(device, non_blocking=True)

    def note(self, signal: torch.Tensor) -> None:
        """Cluster the outputs `[P, N, C]`, those of all rows of a sample together."""
        if not self._finds:
            return
        rows = split_rows(signal.detach(), self.rows_per_sample)
        features = rows.permute(1, 2, 0, 3).flatten(2)
        clusters = cluster_tokens(features, self._rule.clusters, self._rule.iterations)
        if self._shared.table is None:
            shape = (self.num_rows, signal.shape[1])
            self._shared.table = torch.zeros(shape, dtype=torch.long, device=signal.device)
        # Absent rows of a sample take those of its present ones: they compute the same tokens.
        self._shared.table.copy_(clusters.repeat(self.num_rows // len(clusters), 1))

    @property
    def _present(self) -> torch.Tensor:
        assert self._shared.table is not None
        return self._shared.table[self.rows.start : self.rows.stop]

    def choose(self, count: int) -> torch.Tensor:
        """The first token of each cluster in the order that was drawn."""
        assert self._priority is not None
        samples = len(self.rows) // self.rows_per_sample
        chosen = representatives(self._present[:samples], self._priority, count)
        return chosen.repeat(self.rows_per_sample, 1)

    def renewed(
        self, current: torch.Tensor, fresh: torch.Tensor, chosen: torch.Tensor
    ) -> torch.Tensor:
        """The others of a cluster move towards the one that is known."""
        return spread_fresh(current, fresh, chosen, self._present, self._rule.blend)
