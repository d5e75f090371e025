"""Metrics of two sets as wholes: which estimator, with which settings, under which name."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dit_accel.errors import DitAccelError
from dit_accel.metrics.cmmd import cmmd
from dit_accel.metrics.extrapolation import frechet_extrapolated
from dit_accel.metrics.frechet import frechet_distance
from dit_accel.metrics.inception_score import inception_score
from dit_accel.metrics.kernel_distance import kernel_distance
from dit_accel.metrics.prdc import prdc
from dit_accel.metrics.uncertainty import frechet_interval, frechet_subset_interval
from dit_accel.scoring.features import Features
from dit_accel.scoring.metric_spec import FeatureMetric, Value

SUBSETS, SUBSET_SIZE = 100, 1000
SPLITS = 10
SEED = 2020  # torch-fidelity's, whose subsets these are
_FEWEST_FOR_INTERVAL = 4
# Each pair by the neighbour of its own paper and of ADM's evaluator.
NEIGHBOURS = {"precision": 3, "recall": 3, "density": 5, "coverage": 5}


def frechet(metric: FeatureMetric, features: Features, reference: Features) -> list[Value]:
    """Fréchet distance, with an interval where single pictures are known."""
    a, b = features.statistics(metric.output), reference.statistics(metric.output)
    distance = frechet_distance(a.mean, a.cov, b.mean, b.cov)
    if not features.has_rows(metric.output):
        return [Value(metric.name, metric.title, distance)]
    rows = features.rows(metric.output)
    if len(rows) < _FEWEST_FOR_INTERVAL:
        return [Value(metric.name, metric.title, distance)]
    settings: dict[str, Any] = {"interval": metric.interval}
    if metric.interval == "subsets":
        interval = frechet_subset_interval(rows, b.mean, b.cov, num_subsets=SUBSETS, seed=SEED)
        settings |= {"num_subsets": SUBSETS, "seed": SEED}
    else:
        interval = frechet_interval(rows, b.mean, b.cov)
    return [Value(metric.name, metric.title, distance, interval=interval, settings=settings)]


def extrapolated(metric: FeatureMetric, features: Features, reference: Features) -> list[Value]:
    """Fréchet distance extrapolated to infinitely many images."""
    real = reference.statistics(metric.output)
    rows = features.rows(metric.output)
    found = frechet_extrapolated(rows, real.mean, real.cov, seed=SEED)
    settings = {"sizes": list(found.sizes), "slope": found.slope, "seed": SEED}
    return [Value(metric.name, metric.title, found.value, settings=settings)]


def kernel(metric: FeatureMetric, features: Features, reference: Features) -> list[Value]:
    """Kernel distance; a set that is smaller than two usual subsets is halved instead."""
    a, b = features.rows(metric.output), reference.rows(metric.output)
    size = subset_size(len(a), len(b))
    found = kernel_distance(a, b, num_subsets=SUBSETS, subset_size=size, seed=SEED)
    settings = {"num_subsets": SUBSETS, "subset_size": size, "degree": 3, "seed": SEED}
    return [Value(metric.name, metric.title, found.value, std=found.std, settings=settings)]


def subset_size(n: int, m: int) -> int:
    """Rows of a subset: 1000, or half of a set that has less than 2000.

    Subsets of more than half of a set share so many rows that their spread hides its noise; the
    only subset of 1000 of 1000 has none at all.

    Raises:
        DitAccelError: a set has fewer than four pictures.
    """
    smaller = min(n, m)
    if smaller < 4:
        raise DitAccelError(
            f"kid: got sets of {n} and {m} pictures, expected at least 4 each; sample more"
        )
    return min(SUBSET_SIZE, smaller // 2)


def neighbours(metric: FeatureMetric, features: Features, reference: Features) -> list[Value]:
    """Precision, recall, density and coverage."""
    fake, real = features.rows(metric.output), reference.rows(metric.output)
    found = prdc(real, fake, nearest_k=(NEIGHBOURS["precision"], NEIGHBOURS["density"]))
    suffix = metric.name.removeprefix("prdc")
    return [
        Value(
            name + suffix,
            name + suffix.replace("_", "-"),
            getattr(found, name),
            settings={"nearest_k": k},
        )
        for name, k in NEIGHBOURS.items()
    ]


def clip_discrepancy(metric: FeatureMetric, features: Features, reference: Features) -> list[Value]:
    """CMMD, with the paper's kernel."""
    distance = cmmd(features.rows(metric.output), reference.rows(metric.output))
    return [Value(metric.name, metric.title, distance, settings={"sigma": 10.0, "scale": 1000.0})]


def inception(metric: FeatureMetric, features: Features) -> list[Value]:
    """Inception score."""
    found = inception_score(features.rows(metric.output), splits=SPLITS, seed=SEED)
    settings = {"splits": SPLITS, "seed": SEED}
    return [Value(metric.name, metric.title, **asdict(found), settings=settings)]
