"""ClusCa (arXiv 2509.10312): one computed token speaks for its cluster.

At full steps the tokens are clustered by k-means (city-block distance, as released). In between,
one token of each cluster is computed, and the cached features of its cluster move towards it:

    cache <- (1 - gamma) cache + gamma fresh,      the computed token takes its value as it is.

The release iterates until nothing moves, which reads the device at each iteration, and draws tokens
from the global generator, which changes the sampler's noise. Here the number of iterations is
fixed, the start is evenly spaced tokens, and the order of preference within a cluster is the
caller's: noise drawn for (seed, layer, step), or scores. Every sample is clustered by itself.
"""

import torch
from torch import Tensor


def cluster_tokens(features: Tensor, num_clusters: int, iterations: int = 10) -> Tensor:
    """Cluster the tokens of each sample by k-means.

    Args:
        features: ``[B, N, C]``; for a sample with several guidance rows, theirs concatenated
            along ``C``, so that all rows compute the same tokens.
        num_clusters: ``K``, from 1 to ``N`` (the authors use 16).
        iterations: how often the centres are moved.

    Returns:
        Long ``[B, N]`` in ``[0, K)``. A cluster may be empty; on a tie the lower one takes a token.

    Raises:
        ValueError: ``num_clusters`` is out of range.
    """
    num_tokens = features.shape[1]
    if not 1 <= num_clusters <= num_tokens:
        raise ValueError(
            f"{num_tokens} tokens can form 1 to {num_tokens} clusters, got {num_clusters}"
        )
    points = features.float()
    start = torch.arange(num_clusters, device=points.device) * num_tokens // num_clusters
    centres = points[:, start]
    for _ in range(iterations):
        centres = _moved(points, centres, _nearest(points, centres))
    return _nearest(points, centres)


def representatives(clusters: Tensor, priority: Tensor, num_clusters: int) -> Tensor:
    """The token of each cluster that is computed.

    Args:
        clusters: long ``[B, N]`` from `cluster_tokens`.
        priority: ``[B, N]`` or ``[N]``; the highest of a cluster is taken. It should differ from
            step to step, or the same tokens are computed each time.
        num_clusters: ``K``.

    Returns:
        Long ``[B, K]``; token 0 for an empty cluster, which nothing else depends on.
    """
    ranked = torch.where(_members(clusters, num_clusters), priority[..., None], -torch.inf)
    return ranked.argmax(dim=1)


def spread_fresh(
    cached: Tensor, fresh: Tensor, chosen: Tensor, clusters: Tensor, share: float = 0.005
) -> Tensor:
    """Update the cached features of each cluster from the token computed for it.

    Args:
        cached: ``[R, N, C]``.
        fresh: ``[R, K, C]``, features of the tokens ``chosen``.
        chosen: long ``[R, K]`` from `representatives`.
        clusters: long ``[R, N]``.
        share: ``gamma``, 0.005 in the release.

    Returns:
        ``[R, N, C]`` in the dtype of ``cached``.
    """
    width = cached.shape[2]
    of_cluster = fresh.gather(1, clusters[..., None].expand(-1, -1, width))
    mixed = torch.lerp(cached, of_cluster.to(cached.dtype), share)
    return mixed.scatter(1, chosen[..., None].expand(-1, -1, width), fresh.to(cached.dtype))


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(points, centres, p=1.0).argmin(dim=2)


def _moved(points: Tensor, centres: Tensor, clusters: Tensor) -> Tensor:
    """Centres at the mean of their tokens; those without any stay."""
    # By a matrix product: scatter_add is not deterministic on a GPU.
    members = _members(clusters, centres.shape[1]).to(points.dtype)
    size = members.sum(dim=1)[..., None]
    means = members.mT @ points / size.clamp(min=1.0)
    return torch.where(size > 0, means, centres)


def _members(clusters: Tensor, num_clusters: int) -> Tensor:
    """Which token belongs to which cluster, bool ``[B, N, K]``."""
    return clusters[..., None] == torch.arange(num_clusters, device=clusters.device)
