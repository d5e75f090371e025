"""Model families of each kind."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_models import FAMILIES, TinyFamily


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> TinyFamily:
    return FAMILIES[request.param]


@pytest.fixture(params=["alpha", "sigma"])
def pixart(request: pytest.FixtureRequest) -> Any:
    return FAMILIES[request.param]


@pytest.fixture(params=["dit", "alpha"])
def layout(request: pytest.FixtureRequest) -> Any:
    return FAMILIES[request.param]


@pytest.fixture
def dit() -> Any:
    return FAMILIES["dit"]
