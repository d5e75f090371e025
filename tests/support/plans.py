"""Plans on tiny models: one for each method, those that remember, those that change no bit."""

from __future__ import annotations

from typing import Any

SPARSE: dict[str, Any] = {
    "kind": "sparse",
    "pool": {"schedule": "steps", "values": [3, 2], "at": [0.5]},
}
"""Two grids, the first of which divides no side; layouts of whatever depth the model has."""

PLANS: dict[str, dict[str, Any]] = {
    "interval_reuse": {
        "cache": {"predictor": "reuse", "policy": {"kind": "interval", "interval": 2}}
    },
    "interval_polynomial": {
        "cache": {
            "predictor": {"kind": "polynomial", "order": 2},
            "policy": {"kind": "interval", "interval": 2},
        }
    },
    "interval_block": {"cache": {"site": "block", "policy": {"kind": "interval", "interval": 3}}},
    "first_block": {
        "cache": {
            "predictor": {"kind": "polynomial", "order": 1},
            "policy": {"kind": "first_block", "threshold": 0.3},
        }
    },
    "deep": {
        "cache": {
            "site": {"kind": "deep", "first": 1, "last": -2},
            "predictor": "taylor",
            "policy": {"kind": "list", "compute": [0, 2]},
        }
    },
    "guidance": {"cache": {"site": "guidance", "policy": {"kind": "interval", "interval": 3}}},
    "deep_guidance": {
        "cache": [
            {"site": "deep", "policy": {"kind": "interval", "interval": 2}},
            {
                "site": "guidance",
                "predictor": "reuse",
                "policy": {"kind": "interval", "interval": 3},
            },
        ]
    },
    "modules": {
        "cache": [
            {
                "site": "attention",
                "predictor": "taylor",
                "policy": {"kind": "interval", "interval": 2},
            },
            {
                "site": {"kind": "feed_forward", "first": 1, "last": 3},
                "predictor": "reuse",
                "policy": {"kind": "block_profile", "compute": [[0], [0, 1], [0]]},
            },
        ]
    },
    "tokens": {
        "cache": {
            "site": "tokens",
            "predictor": "reuse",
            "policy": {"kind": "token_importance", "share": 0.3},
        }
    },
    "clusters": {
        "cache": {
            "site": "tokens",
            "predictor": "taylor",
            "policy": {"kind": "token_cluster", "interval": 2, "clusters": 5},
        }
    },
    "pooled": {"density": {"kind": "pooled", "pool": 2, "layers": [1, 3]}},
    "sparse": {"density": SPARSE},
    "sparse_cached": {
        "density": SPARSE,
        "cache": {
            "predictor": {"kind": "polynomial", "order": 1},
            "policy": {"kind": "interval", "interval": 2},
        },
    },
    "tome2d": {
        "merge": {
            "kind": "tome2d",
            "ratio": {"schedule": "cosine", "start": 0.6, "end": 0.25},
            "at": ["attention", "feed_forward"],
            "reuse_layers": 2,
            "reuse_steps": 2,
        }
    },
    "kv_downsample": {"attention": {"kind": "kv_downsample", "factor": 2}},
    "combined": {
        "cache": {"site": "block", "policy": {"kind": "first_block", "threshold": 0.3}},
        "density": {"kind": "pooled", "pool": 2, "layers": [1, 3]},
        "merge": {"kind": "tome2d", "ratio": 0.5, "layers": [3, 4]},
        "attention": {"kind": "kv_downsample", "factor": 2, "steps": [0.0, 0.6]},
    },
}
"""A plan for each method, and one with all of them."""

STATIC = [name for name in PLANS if name not in ("first_block", "combined")]
"""Plans whose work depends on the step alone."""

REMEMBERING = [
    "interval_polynomial",
    "first_block",
    "deep_guidance",
    "tome2d",
    "sparse_cached",
    "combined",
]
"""Plans that carry something from step to step; every cache by itself: test_every_combination."""

NEUTRAL_PLANS: dict[str, dict[str, Any]] = {
    "interval_1": {"cache": {"policy": {"kind": "interval", "interval": 1}}},
    "interval_1_block": {"cache": {"site": "block", "policy": {"kind": "interval", "interval": 1}}},
    "interval_1_deep": {"cache": {"site": "deep", "policy": {"kind": "interval", "interval": 1}}},
    "interval_1_guidance": {
        "cache": {"site": "guidance", "policy": {"kind": "interval", "interval": 1}}
    },
    "interval_1_modules": {
        "cache": [
            {"site": "attention", "policy": {"kind": "interval", "interval": 1}},
            {"site": "feed_forward", "policy": {"kind": "interval", "interval": 1}},
        ]
    },
    "interval_1_tokens": {
        "cache": {"site": "tokens", "policy": {"kind": "token_importance", "interval": 1}}
    },
    "threshold_0": {"cache": {"policy": {"kind": "first_block", "threshold": 0}}},
    "pool_1": {"density": {"kind": "pooled", "pool": 1}},
    "full_grid": {"density": {"kind": "pooled", "grid": [64, 64]}},
    "sparse_full_grid": {"density": {"kind": "sparse", "grid": [64, 64]}},
    "ratio_0": {"merge": {"kind": "tome2d", "ratio": 0, "at": ["attention", "feed_forward"]}},
    "factor_1": {"attention": {"kind": "kv_downsample", "factor": 1}},
    "all": {
        "cache": {"policy": {"kind": "first_block", "threshold": 0}},
        "density": {"kind": "pooled", "pool": 1, "layers": [0, 2]},
        "merge": {"kind": "tome2d", "ratio": 0, "layers": [2, 4]},
        "attention": {"kind": "kv_downsample", "factor": 1},
    },
}
"""Plans that install hooks and change no bit."""
