"""The learned parts that a plan brings along, beside the transformer's own weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from dit_accel.install import installation_of


def learned_parts(target: Any) -> nn.ModuleDict:
    """Learned parts of the plan at work on `target`; empty where it has none."""
    found = getattr(installation_of(target), "learned", None)
    return found if isinstance(found, nn.ModuleDict) else nn.ModuleDict()
