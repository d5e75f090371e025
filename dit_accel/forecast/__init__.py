"""Reuse and prediction over denoising steps: maths, without any model.

`predictors` gives the weights of a forecast, `predict` applies them, `decisions` says what is
computed instead; `drift` measures how far a feature has moved, `rows` which rows are one sample.
"""

from dit_accel.forecast.drift import per_sample, relative_l1_change
from dit_accel.forecast.predict import newton_weights, weighted_sum

__all__ = ["newton_weights", "per_sample", "relative_l1_change", "weighted_sum"]
