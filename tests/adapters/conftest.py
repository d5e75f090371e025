"""The model of tests that need one family only."""

from __future__ import annotations

import pytest
from tiny_models import FAMILIES, TinyFamily


@pytest.fixture
def dit() -> TinyFamily:
    return FAMILIES["dit"]
