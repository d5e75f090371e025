"""Every model family, every plan."""

from __future__ import annotations

from typing import Any

import pytest
from plans import NEUTRAL_PLANS, PLANS, REMEMBERING, STATIC
from tiny_models import FAMILIES, TinyFamily


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> TinyFamily:
    return FAMILIES[request.param]


@pytest.fixture(params=["alpha", "sigma"])
def pixart(request: pytest.FixtureRequest) -> Any:
    return FAMILIES[request.param]


@pytest.fixture(params=PLANS)
def plan(request: pytest.FixtureRequest) -> dict[str, Any]:
    return PLANS[request.param]


@pytest.fixture(params=["dit", "alpha"])
def layout(request: pytest.FixtureRequest) -> TinyFamily:
    """A family of each order of guidance rows: conditional first, unconditional first."""
    return FAMILIES[request.param]


@pytest.fixture(params=REMEMBERING)
def remembering_plan(request: pytest.FixtureRequest) -> dict[str, Any]:
    return PLANS[request.param]


@pytest.fixture(params=["interval_polynomial", "sparse_cached", "combined"])
def telling_plan(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Where few plans say enough: by the step alone, with parts of its own, with everything."""
    return PLANS[request.param]


@pytest.fixture(params=STATIC)
def static_plan(request: pytest.FixtureRequest) -> dict[str, Any]:
    return PLANS[request.param]


@pytest.fixture(params=NEUTRAL_PLANS)
def neutral_plan(request: pytest.FixtureRequest) -> dict[str, Any]:
    return NEUTRAL_PLANS[request.param]
