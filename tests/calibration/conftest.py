"""A tiny DiT with a plan fitted to it, shared by the tests of a session."""

from __future__ import annotations

from typing import Any

import pytest
from calibrated_plans import fitted, solver
from tiny_models import FAMILIES

from dit_accel import Plan


@pytest.fixture
def pipe() -> Any:
    return FAMILIES["dit"].pipeline(solver())


@pytest.fixture(scope="session")
def plan() -> Plan:
    return fitted(FAMILIES["dit"].pipeline(solver()))


@pytest.fixture(autouse=True)
def few_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for steps is what calibration spends its time on."""
    monkeypatch.setattr("dit_accel.calibration.multistep.FITS", 8)
