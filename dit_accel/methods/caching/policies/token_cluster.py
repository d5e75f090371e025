"""Between full steps, compute the feed-forward of one token of each cluster (ClusCa, 2509.10312).

In a full step the tokens of each sample are clustered once, by k-means over the feed-forward
outputs of the last remembered layer, both guidance rows together; all layers share the clusters.
The release clusters in its own way until nothing moves; see
`dit_accel.forecast.decisions.token_clusters` for what is kept of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dit_accel.errors import PlanError, Problem, mismatch
from dit_accel.methods.caching.choosers.chooser import TokenChooser
from dit_accel.methods.caching.choosers.clusters import (
    ClusterChooser,
    ClusterRule,
    SharedClusters,
)
from dit_accel.methods.caching.policies.token_policy import TokenPolicy
from dit_accel.methods.registry import register
from dit_accel.run_state import Position
from dit_accel.tokens.grid import Grid


@register("policy", kind="token_cluster")
class TokenCluster(TokenPolicy):
    """`policy: {kind: token_cluster, interval: 4, clusters: 16}`.

    Args:
        interval: steps from one full step to the next.
        clusters: `K`, tokens that are computed in between.
        blend: how far the others of a cluster move towards its computed token.
        iterations: of k-means.
    """

    kind: Literal["token_cluster"] = "token_cluster"
    reads: ClassVar[Literal["values", "outputs"]] = "outputs"
    interval: Annotated[int, Field(ge=1)] = 4
    clusters: Annotated[int, Field(ge=1)] = 16
    blend: Annotated[float, Field(ge=0.0, le=1.0)] = 0.005
    iterations: Annotated[int, Field(ge=1)] = 10

    def count(
        self, position: Position, last: int, layer: int, num_layers: int, num_tokens: int
    ) -> int:
        """One for each cluster."""
        return self.clusters

    def choosers(
        self, layers: Sequence[int], num_rows: int, grid: Grid, seed: int
    ) -> Mapping[int, TokenChooser]:
        """One a layer, the last of which makes the clusters.

        Raises:
            PlanError: more clusters than tokens.
        """
        if self.clusters > grid.size:
            expected = f"at most {grid.size}, because there are {grid.size} tokens"
            problem = mismatch(self.clusters, expected, "lower it")
            raise PlanError(Problem("cache.policy.clusters", problem))
        rule = ClusterRule(grid.size, self.clusters, self.iterations, self.blend, seed)
        shared = SharedClusters()
        return {
            layer: ClusterChooser(num_rows, rule, layer, shared, layer == layers[-1])
            for layer in layers
        }

    def nbytes(self, num_layers: int, num_rows: int, num_tokens: int) -> int:
        """The cluster of each token, in int64."""
        return num_rows * num_tokens * 8
