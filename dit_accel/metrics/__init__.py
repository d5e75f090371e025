"""Scores of image sets, as mathematics on arrays of features.

Everything here takes numpy arrays, torch tensors or nested lists, computes in float64 on the CPU,
and needs neither a network, nor files of images, nor SciPy.
"""

from dit_accel.metrics.arrays import MetricError
from dit_accel.metrics.cmmd import cmmd
from dit_accel.metrics.estimate import Estimate, Interval
from dit_accel.metrics.extrapolation import Extrapolation, frechet_extrapolated
from dit_accel.metrics.feature_statistics import FeatureStatistics
from dit_accel.metrics.frechet import frechet_distance
from dit_accel.metrics.inception_score import inception_score
from dit_accel.metrics.kernel_distance import kernel_distance
from dit_accel.metrics.prdc import PRDC, prdc
from dit_accel.metrics.statistics_files import Moments, StatisticsFile, read_statistics
from dit_accel.metrics.uncertainty import (
    frechet_difference_interval,
    frechet_influence,
    frechet_interval,
    frechet_subset_interval,
)

__all__ = [
    "PRDC",
    "Estimate",
    "Extrapolation",
    "FeatureStatistics",
    "Interval",
    "MetricError",
    "Moments",
    "StatisticsFile",
    "cmmd",
    "frechet_difference_interval",
    "frechet_distance",
    "frechet_extrapolated",
    "frechet_influence",
    "frechet_interval",
    "frechet_subset_interval",
    "inception_score",
    "kernel_distance",
    "prdc",
    "read_statistics",
]
