"""Predictors: how a remembered feature is advanced to the present.

Each file is one published predictor and gives a weight vector ``[K]`` in float64 over the raw
snapshots, newest first, from their true positions; `dit_accel.forecast.predict.weighted_sum`
applies it. ``curvature`` gives weights for each token, ``frequency`` combines two forecasts by
spatial frequency, ``calibrated`` fits the weights to a model. Exact for polynomials in time of
degree

============  ==================  =================================================
file          exact to degree     published as
============  ==================  =================================================
reuse         0                   FORA and most others
polynomial    the order           divided differences with true gaps
taylor        1                   TaylorSeer
hermite       0 (1: sigma² = ½)   HiCache
chebyshev     1 (2: 3 even nodes) ChebBooster
adams         1                   linear multistep
foca          1                   FoCa
============  ==================  =================================================
"""

from dit_accel.forecast.predictors.adams import adams_weights
from dit_accel.forecast.predictors.calibrated import Fit, LeastSquares
from dit_accel.forecast.predictors.chebyshev import chebyshev_weights
from dit_accel.forecast.predictors.curvature import (
    TokenMotion,
    curvature_groups,
    curvature_weights,
    token_motion,
    weights_of_tokens,
)
from dit_accel.forecast.predictors.foca import foca_weights
from dit_accel.forecast.predictors.frequency import mix_bands
from dit_accel.forecast.predictors.hermite import hermite_weights
from dit_accel.forecast.predictors.polynomial import damped_horizon, newton_weights
from dit_accel.forecast.predictors.reuse import reuse_weights
from dit_accel.forecast.predictors.taylor import taylor_weights

__all__ = [
    "Fit",
    "LeastSquares",
    "TokenMotion",
    "adams_weights",
    "chebyshev_weights",
    "curvature_groups",
    "curvature_weights",
    "damped_horizon",
    "foca_weights",
    "hermite_weights",
    "mix_bands",
    "newton_weights",
    "reuse_weights",
    "taylor_weights",
    "token_motion",
    "weights_of_tokens",
]
