"""Configs of adaptations that are small enough to be run whole in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

POOLED = {"kind": "pooled", "pool": 2, "layers": [1, 3], "steps": [0.0, 0.5]}
# Of a run of four steps: one on 2 x 2 tokens, two on 4 x 4, and a dense one.
SPARSE = {
    "kind": "sparse",
    "grid": {"schedule": "steps", "values": [[2, 2], [4, 4], [8, 8]], "at": [0.2, 0.8]},
    "layout": {"segments": 2, "group": [0, 1, 0, 1]},
}


def document(model: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """A whole config; `loop` and `run` are changed key by key."""
    loop = {
        "steps": 6,
        "learning_rate": 2e-3,
        "warmup_steps": 1,
        "log_every": 1,
        "checkpoint_every": 2,
        "preview_every": 6,
    }
    run = {"num_inference_steps": 4, "guidance_scale": 2.0}
    return {
        "model": str(model),
        "plan": {"density": POOLED},
        "output": str(output),
        "train": "new+norm",
        "data": {"kind": "trajectories", "samples": 12, "batch_size": 6},
        "batch_size": 4,
        "held_out": 4,
        "previews": 0,
        **changes,
        "loop": {**loop, **changes.get("loop", {})},
        "run": {**run, **changes.get("run", {})},
    }
