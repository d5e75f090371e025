"""Large products of cases and model families: by default each case meets one family, in turn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import pytest
from tiny_models import FAMILIES

LARGE = 12
"""Items of one test function, from which its families take turns."""


def repeated_on_other_families(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """Items whose case another item of the same large product has on its own family.

    Every case is left with one family, and every family with about as many cases as the others.
    """
    functions: dict[str, list[pytest.Function]] = defaultdict(list)
    for item in items:
        # One that is slow anyway takes no turn: its case might be left with it alone.
        if not isinstance(item, pytest.Function) or item.get_closest_marker("slow"):
            continue
        if hasattr(item, "callspec"):
            functions[item.nodeid.partition("[")[0]].append(item)
    for product in functions.values():
        if len(product) >= LARGE:
            yield from _all_but_one_family(product)


def _all_but_one_family(product: Sequence[pytest.Function]) -> Iterator[pytest.Function]:
    cases: dict[tuple[str, ...], list[pytest.Function]] = defaultdict(list)
    for item in product:
        words = item.callspec.id.split("-")
        if not FAMILIES.keys().isdisjoint(words):
            cases[tuple(word for word in words if word not in FAMILIES)].append(item)
    for turn, families in enumerate(cases.values()):
        kept = turn % len(families)
        yield from (item for place, item in enumerate(families) if place != kept)
