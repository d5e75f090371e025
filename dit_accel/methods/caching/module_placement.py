"""Which modules inside which blocks the caches of a plan remember, and how caches nest."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from dit_accel.errors import PlanError
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.policies.policy import Policy


def layer_groups(cache: CacheConfig, num_layers: int) -> list[tuple[tuple[int, ...], Policy]]:
    """The layers whose modules a cache remembers, by what rules them.

    Raises:
        PlanError: the model has no such layers, or the policy is made for another number of them.
    """
    return cache.policy.by_layer(cache.site.module_layers(num_layers))


def refuse_shared_modules(
    caches: Sequence[CacheConfig], placed: Sequence[Sequence[range]], num_layers: int
) -> None:
    """Each module has one memory at most, and none in a block that is left out.

    Args:
        caches: of the plan.
        placed: the spans of blocks of each.
        num_layers: blocks of the model.

    Raises:
        PlanError: it is not so.
    """
    inside = [
        (index, cache, set(cache.site.module_layers(num_layers)))
        for index, cache in enumerate(caches)
        if cache.site.modules
    ]
    for (i, first, layers), (j, second, others) in combinations(inside, 2):
        modules = set(first.site.modules) & set(second.site.modules)
        if modules and layers & others:
            raise PlanError(
                f"cache[{i}] and cache[{j}] would both remember the {min(modules)} of the blocks"
                f" {sorted(layers & others)}, expected at most one cache a module; set first and"
                " last of their sites apart"
            )
    for index, cache, layers in inside:
        layer_groups(cache, num_layers)
        for other, spans in enumerate(placed):
            _refuse_inside(index, cache, layers, other, caches[other], spans)


def _refuse_inside(
    index: int,
    cache: CacheConfig,
    layers: set[int],
    other: int,
    outer: CacheConfig,
    spans: Sequence[range],
) -> None:
    left_out = {layer for span in spans for layer in span}
    looked_at = set(range(spans[0][0])) if spans and outer.per_sample else set()
    if layers & (left_out | looked_at):
        what = "leaves out" if layers & left_out else "looks at"
        raise PlanError(
            f"cache[{index}] remembers modules inside the blocks"
            f" {sorted(layers & (left_out | looked_at))}, which cache[{other}] (site"
            f" {outer.site.method}) {what} as a whole; set first and last of site"
            f" {cache.site.method} apart from them"
        )
