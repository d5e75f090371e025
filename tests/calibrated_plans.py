"""Fitting a plan to a tiny pipeline, for tests."""

from __future__ import annotations

from typing import Any

from diffusers import DPMSolverMultistepScheduler

import dit_accel
from dit_accel import Plan

STEPS, GUIDANCE, SPEEDUP, SEEDS = 10, 2.0, 1.8, (1, 2)
LABELS = {"class_labels": [37, 74]}


def solver() -> DPMSolverMultistepScheduler:
    """One whose noise levels are its own, so that blocks and guidance are forecast."""
    return DPMSolverMultistepScheduler(use_karras_sigmas=True)


def fitted(pipe: Any, **changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "speedup": SPEEDUP,
        "seeds": SEEDS,
        "conditions": LABELS,
    }
    return dit_accel.calibrate(pipe, **{**settings, **changes})
