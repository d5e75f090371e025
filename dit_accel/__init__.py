"""Diffusion transformers in diffusers, several times faster at the same quality.

>>> import dit_accel
>>> dit_accel.accelerate(pipe, "balanced")   # preset name, YAML path or Plan; in place
>>> images = pipe(class_labels=[207], num_inference_steps=20).images
>>> print(dit_accel.summary(pipe))
>>> dit_accel.restore(pipe)                  # bit-identical to before
"""

from importlib.metadata import PackageNotFoundError, version

from dit_accel.calibration import calibrate
from dit_accel.errors import DitAccelError, PlanError, UnsupportedError
from dit_accel.install import accelerate, accelerated, restore, run
from dit_accel.plan import Plan
from dit_accel.summary import summary

try:
    __version__ = version("dit-accel")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "DitAccelError",
    "Plan",
    "PlanError",
    "UnsupportedError",
    "accelerate",
    "accelerated",
    "calibrate",
    "restore",
    "run",
    "summary",
]
