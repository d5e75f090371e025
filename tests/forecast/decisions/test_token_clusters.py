"""Clusters of tokens and what is computed for them."""

import pytest
import torch
from torch import Tensor

from dit_accel.forecast.decisions.token_clusters import (
    cluster_tokens,
    representatives,
    spread_fresh,
)


def random_tokens(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_separate_groups_are_found() -> None:
    """Three groups of four, shuffled, each with a token among the evenly spaced first centres."""
    labels = torch.tensor([0, 2, 1, 0, 1, 0, 2, 1, 2, 0, 1, 2])
    tokens = 100.0 * labels[None, :, None] + random_tokens(1, 12, 5)
    clusters = cluster_tokens(tokens, 3)
    for label in range(3):
        assert clusters[0, labels == label].unique().numel() == 1
    assert clusters.unique().numel() == 3


def test_agrees_with_a_plain_loop() -> None:
    tokens, count = random_tokens(1, 30, 4), 5
    centres = tokens[0, [0, 6, 12, 18, 24]].clone()
    for _ in range(4):
        labels = (tokens[0][:, None] - centres).abs().sum(-1).argmin(1)
        for k in range(count):
            if (labels == k).any():
                centres[k] = tokens[0, labels == k].mean(0)
    expected = (tokens[0][:, None] - centres).abs().sum(-1).argmin(1)
    assert torch.equal(cluster_tokens(tokens, count, iterations=4)[0], expected)


def test_samples_are_clustered_alone_and_alike_each_time() -> None:
    tokens = random_tokens(3, 40, 4)
    together = cluster_tokens(tokens, 6)
    tokens[2] *= 1e4
    assert torch.equal(cluster_tokens(tokens, 6)[:2], together[:2])
    assert torch.equal(cluster_tokens(tokens[1:2], 6), together[1:2])


def test_as_many_clusters_as_tokens() -> None:
    assert cluster_tokens(random_tokens(1, 6, 4), 6)[0].tolist() == list(range(6))


@pytest.mark.parametrize("count", [0, 7])
def test_number_of_clusters_must_fit(count: int) -> None:
    with pytest.raises(ValueError, match=f"6 tokens can form 1 to 6 clusters, got {count}"):
        cluster_tokens(random_tokens(1, 6, 4), count)


def test_the_preferred_token_of_each_cluster_is_computed() -> None:
    clusters = torch.tensor([[0, 1, 0, 3], [1, 1, 1, 1]])
    priority = torch.tensor([0.1, 0.2, 0.9, 0.3])
    assert representatives(clusters, priority, 4).tolist() == [[2, 1, 0, 3], [0, 2, 0, 0]]
    each = torch.stack([priority, -priority])
    assert representatives(clusters, each, 4)[1].tolist() == [0, 0, 0, 0]


def test_clusters_follow_their_computed_token() -> None:
    cached = random_tokens(2, 6, 3)
    clusters = torch.tensor([[0, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1]])
    chosen = representatives(clusters, torch.arange(6.0), 2)
    truth = random_tokens(2, 6, 3) + 5
    fresh = truth.gather(1, chosen[..., None].expand(-1, -1, 3))
    result = spread_fresh(cached, fresh, chosen, clusters, share=0.25)
    # In the second row cluster 0 is empty: token 0 is computed for it, and nothing follows it.
    for row, computed in enumerate(({5, 4}, {5, 0})):
        for token in range(6):
            leader = 5 if row == 1 or clusters[row, token] == 0 else 4
            mixed = 0.75 * cached[row, token] + 0.25 * truth[row, leader]
            expected = truth[row, token] if token in computed else mixed
            torch.testing.assert_close(result[row, token], expected)
