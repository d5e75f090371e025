"""Which blocks of a model each cache of a plan remembers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from dit_accel.errors import PlanError, UnsupportedError
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.module_placement import refuse_shared_modules

Spans = list[range]


def place(caches: Sequence[CacheConfig], num_layers: int) -> list[Spans]:
    """The spans of each cache on a model of `num_layers` blocks; none for rows and modules.

    Raises:
        PlanError: blocks that the model has not, or blocks or modules that two caches remember.
        UnsupportedError: a policy that looks at a block of a model that has no other.
    """
    placed = []
    for cache in caches:
        if cache.policy.looks_at in ("first_blocks", "last_block") and num_layers < 2:
            which = cache.policy.looks_at.partition("_")[0]
            raise UnsupportedError(
                f"cache.policy: it computes the {which} block always, and this model has"
                f" {num_layers} block(s); expected at least 2, or use policy interval"
            )
        spans = cache.spans(num_layers)
        if spans:
            parts_of(cache, spans)
        placed.append(spans)
    _refuse_overlaps(caches, placed)
    refuse_shared_modules(caches, placed, num_layers)
    return placed


def layers_of(spans: Spans) -> list[int]:
    """All blocks of some spans."""
    return [layer for span in spans for layer in span]


def forecast_layers(cache: CacheConfig, spans: Spans) -> frozenset[int]:
    """The blocks that do not run where all is forecast: all but one that is looked at."""
    looked_at = spans[-1:] if cache.policy.looks_at == "last_block" else []
    return frozenset(layers_of(spans)) - frozenset(layers_of(looked_at))


def parts_of(cache: CacheConfig, spans: Spans) -> list[tuple[CacheConfig, Spans]]:
    """A cache over blocks as one for each group of its spans that are computed at the same steps.

    Raises:
        PlanError: its policy is made for another number of layers.
    """
    at = {span.start: span for span in spans}
    return [
        (cache.model_copy(update={"policy": policy}), [at[layer] for layer in layers])
        for layers, policy in cache.policy.by_layer(list(at))
    ]


def _refuse_overlaps(caches: Sequence[CacheConfig], placed: list[Spans]) -> None:
    for (i, first), (j, second) in combinations(enumerate(placed), 2):
        both = set(layers_of(first)) & set(layers_of(second))
        if both:
            raise PlanError(
                f"cache[{i}] and cache[{j}] would both remember the blocks {sorted(both)}, expected"
                " at most one cache a block; set first and last of site deep apart"
            )
    for index, (cache, spans) in enumerate(zip(caches, placed, strict=True)):
        others = [layers_of(other) for k, other in enumerate(placed) if k != index]
        looks = cache.policy.looks_at == "first_blocks"
        looked_at = set(range(spans[0][0])) if looks else set()
        if any(looked_at & set(layers) for layers in others):
            raise PlanError(
                f"cache[{index}]: policy {cache.policy.method} looks at the blocks before block"
                f" {spans[0][0]}, and another cache leaves some of them out; let that one begin"
                " after this one, or use policy interval here"
            )
