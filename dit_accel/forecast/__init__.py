"""Reuse and prediction over denoising steps: maths, without any model."""

from dit_accel.forecast.drift import per_sample, relative_l1_change
from dit_accel.forecast.predict import newton_weights, weighted_sum

__all__ = ["newton_weights", "per_sample", "relative_l1_change", "weighted_sum"]
