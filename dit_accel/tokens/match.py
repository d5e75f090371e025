"""Which tokens to merge into which: bipartite soft matching with 2-D destinations.

ToMe for Stable Diffusion (Bolya & Hoffman, arXiv 2303.17604, section 4.1): one *destination* token
(dst) is drawn at random in each window of the token grid, all others are *sources* (src). Each
source picks its most similar destination by cosine similarity, and the most similar sources of
the image are merged into theirs. The draw is shared by the whole batch, so that the conditional
and unconditional rows of a sample see the same partition and a sample does not depend on its
batch-mates.

Differences from the ``tomesd`` release: the draw is a pure function of a seed and leaves the
global random state alone, zero tokens do not produce NaN, and ties merge in raster order.
"""

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dit_accel.tokens.grid import Grid


class Destinations(NamedTuple):
    """Partition of the ``N`` token indices into destinations and sources, both ascending."""

    dst: Tensor
    """Long ``[D]``: tokens that others merge into."""
    src: Tensor
    """Long ``[S]``, ``S = N - D``: tokens that may merge."""

    def to(self, device: torch.device | str) -> "Destinations":
        """Return the partition on ``device``, without waiting for it."""
        return Destinations(
            self.dst.to(device, non_blocking=True), self.src.to(device, non_blocking=True)
        )


class Matching(NamedTuple):
    """Where each of ``N`` tokens goes when ``r`` of them merge; a pytree of long tensors.

    The merged sequence has ``N - r`` rows: the unmerged sources, in the order of `unmerged`, then
    the ``D`` destinations. Shapes depend on ``(N, D, r)`` alone, never on the data.
    """

    destinations: Destinations
    unmerged: Tensor
    """``[B, S - r]`` token indices of the sources that stay."""
    merged: Tensor
    """``[B, r]`` token indices of the sources that merge, most similar first."""
    target: Tensor
    """``[B, r]`` position in ``destinations.dst`` each merged source goes to."""
    assignment: Tensor
    """``[B, N]`` row of the merged sequence that holds each token."""

    @property
    def num_rows(self) -> int:
        """Length of the merged sequence, ``N - r``."""
        return self.unmerged.shape[1] + self.destinations.dst.shape[0]


def mix_seed(*parts: int) -> int:
    """Mix integers such as (plan seed, layer, step) into one seed in ``[0, 2**63)``.

    A hash, the same on every machine and Python version: neighbouring parts give unrelated
    seeds, order matters, and no two tuples collide but by a chance of ``2**-63``.
    """
    text = ",".join(str(int(part)) for part in parts)
    digest = hashlib.blake2b(text.encode("ascii"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def draw_destinations(
    grid: Grid, stride: tuple[int, int] = (2, 2), seed: int | tuple[int, ...] = 0
) -> Destinations:
    """Draw one destination in each window of the grid.

    Rows and columns beyond the last whole window are all sources. Made on the CPU, once per
    (layer, step): move it with `Destinations.to` before the denoising loop needs it.

    Args:
        grid: the token grid.
        stride: height and width of a window, in tokens.
        seed: an integer, or several (plan seed, layer, step) to be mixed by `mix_seed`.

    Raises:
        ValueError: the stride is not positive or exceeds the grid.
    """
    step_y, step_x = stride
    if not (1 <= step_y <= grid.height and 1 <= step_x <= grid.width):
        raise ValueError(f"windows of {step_y}x{step_x} tokens do not fit a {grid} token grid")
    parts = (seed,) if isinstance(seed, int) else seed
    generator = torch.Generator("cpu").manual_seed(mix_seed(*parts))
    windows = (grid.height // step_y, grid.width // step_x)
    # Explicit devices: the draw must be real numbers also under `torch.device("meta")`.
    chosen = torch.randint(step_y * step_x, windows, generator=generator, device="cpu")
    rows = torch.arange(windows[0], device="cpu")[:, None] * step_y + chosen // step_x
    columns = torch.arange(windows[1], device="cpu") * step_x + chosen % step_x
    is_dst = torch.zeros(grid.size, dtype=torch.bool, device="cpu")
    is_dst[(rows * grid.width + columns).flatten()] = True
    return Destinations(is_dst.nonzero().flatten(), (~is_dst).nonzero().flatten())


def match_bipartite(metric: Tensor, destinations: Destinations, num_merged: int) -> Matching:
    """Match the ``num_merged`` sources most similar to a destination with that destination.

    Args:
        metric: ``[B, N, C]`` features compared by cosine similarity, in float32 or wider.
        destinations: the partition of the ``N`` tokens, on the device of ``metric``.
        num_merged: how many sources merge in each row, ``r``; at most all ``S`` of them do.

    Raises:
        ValueError: ``N`` differs from the size of the partition, or ``num_merged < 0``.
    """
    dst, src = destinations
    num_tokens = dst.shape[0] + src.shape[0]
    if metric.ndim != 3 or metric.shape[1] != num_tokens:
        raise ValueError(
            f"expected a metric of shape [B, {num_tokens}, C] for {dst.shape[0]} destinations "
            f"and {src.shape[0]} sources, got {tuple(metric.shape)}"
        )
    if num_merged < 0:
        raise ValueError(f"num_merged must not be negative, got {num_merged}")
    wide = torch.promote_types(metric.dtype, torch.float32)
    unit = functional.normalize(metric.detach().to(wide), dim=-1)
    scores = unit.index_select(1, src) @ unit.index_select(1, dst).mT
    similarity, nearest = scores.max(dim=-1)
    order = similarity.argsort(dim=-1, descending=True, stable=True)
    merging = order[:, :num_merged]
    staying = order[:, num_merged:]
    return _matching(destinations, src[staying], src[merging], nearest.gather(1, merging))


def _matching(
    destinations: Destinations, unmerged: Tensor, merged: Tensor, target: Tensor
) -> Matching:
    batch, num_unmerged = unmerged.shape
    dst = destinations.dst
    tokens = torch.cat([unmerged, dst.expand(batch, -1), merged], dim=1)
    kept_rows = torch.arange(num_unmerged + dst.shape[0], device=dst.device)
    rows = torch.cat([kept_rows.expand(batch, -1), num_unmerged + target], dim=1)
    # `tokens` is a permutation of all of them in each row, so every entry is written.
    assignment = torch.empty_like(tokens).scatter(1, tokens, rows)
    return Matching(destinations, unmerged, merged, target, assignment)
