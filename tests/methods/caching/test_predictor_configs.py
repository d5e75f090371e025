"""The predictors as plans name them: the weights of the maths, and room for its snapshots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dit_accel.forecast import predictors as maths
from dit_accel.methods.caching.cache import CacheConfig

TIMES, TARGET = (7, 4, 3, 1, 0), 9


@pytest.mark.parametrize(
    ("predictor", "snapshots", "weights"),
    [
        ("reuse", 1, lambda t: maths.reuse_weights(t, TARGET)),
        (
            {"kind": "polynomial", "order": 2, "damping": 0.5},
            3,
            lambda t: maths.newton_weights(t, TARGET, 2, 0.5),
        ),
        ({"kind": "taylor", "order": 4}, 5, lambda t: maths.taylor_weights(t, TARGET, 4)),
        (
            {"kind": "hermite", "order": 2, "sigma": 0.7},
            3,
            lambda t: maths.hermite_weights(t, TARGET, 2, 0.7),
        ),
        ({"kind": "chebyshev", "nodes": 4}, 4, lambda t: maths.chebyshev_weights(t, TARGET)),
        ({"kind": "adams", "order": 2}, 3, lambda t: maths.adams_weights(t, TARGET, 2)),
        ({"kind": "foca", "nodes": 3}, 3, lambda t: maths.foca_weights(t, TARGET)),
    ],
)
def test_weights_are_those_of_the_maths(predictor: Any, snapshots: int, weights: Any) -> None:
    config = CacheConfig(policy="interval", predictor=predictor).predictor
    assert config.snapshots == snapshots
    for count in range(1, snapshots + 1):
        known = TIMES[:count]
        np.testing.assert_array_equal(config.weights(known, TARGET), weights(known))
