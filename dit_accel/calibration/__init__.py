"""Fitting a cache to a model: trajectories in, a plan out."""

from dit_accel.calibration.calibrate import calibrate

__all__ = ["calibrate"]
