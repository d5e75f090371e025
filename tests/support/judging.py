"""Plans whose policies look at the data, at settings where tiny models decide this way and that."""

from __future__ import annotations

from typing import Any

CURVATURE = {"kind": "curvature", "stable": 0.3, "chaotic": 0.7, "max_skips": 3}

JUDGING: dict[str, dict[str, Any]] = {
    "easy": {"cache": {"policy": {"kind": "easy", "threshold": 0.5, "retention": 0.0}}},
    "input_change": {"cache": {"policy": {"kind": "input_change", "threshold": 0.3}}},
    "curvature": {
        "cache": {
            "predictor": CURVATURE,
            "policy": {
                "kind": "curvature",
                "threshold": 4.0,
                "max_skips": 3,
                "chaotic": 0.7,
                "retention": 0.0,
            },
        }
    },
    "verify": {
        "cache": {
            "policy": {
                "kind": "verify",
                "base": 0.6,
                "decay": 0.5,
                "minimum": 0,
                "retention": 0.0,
            }
        }
    },
}
"""One a policy."""

NEVER: dict[str, dict[str, Any]] = {
    "easy": {"kind": "easy", "threshold": 0, "retention": 0.0},
    "input_change": {"kind": "input_change", "threshold": 0},
    "curvature": {"kind": "curvature", "threshold": 0, "retention": 0.0},
    "verify": {"kind": "verify", "base": 0.0, "floor": 0.0, "retention": 0.0},
}
"""The same policies, where nothing is ever forecast."""


def policy_of(name: str) -> dict[str, Any]:
    """The policy of a plan of `JUDGING`."""
    found: dict[str, Any] = JUDGING[name]["cache"]["policy"]
    return found
