"""Fewer tokens: maths on ``[B, N, C]`` tensors, without any model.

`grid` and `pool` average over the cells of a coarser grid; `match` and `merge` merge tokens that
are alike.
"""

from dit_accel.tokens.grid import Grid, cell_index, cell_sizes
from dit_accel.tokens.match import (
    Destinations,
    Matching,
    draw_destinations,
    match_bipartite,
    mix_seed,
)
from dit_accel.tokens.merge import merge, merged_sizes, unmerge
from dit_accel.tokens.pool import pool, unpool

__all__ = [
    "Destinations",
    "Grid",
    "Matching",
    "cell_index",
    "cell_sizes",
    "draw_destinations",
    "match_bipartite",
    "merge",
    "merged_sizes",
    "mix_seed",
    "pool",
    "unmerge",
    "unpool",
]
