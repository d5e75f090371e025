"""Metrics of two sets as wholes: which estimator, with which settings, under which name."""

from __future__ import annotations

from dataclasses import asdict

from dit_accel.errors import DitAccelError
from dit_accel.metrics.cmmd import cmmd
from dit_accel.metrics.extrapolation import frechet_extrapolated
from dit_accel.metrics.frechet import frechet_distance
from dit_accel.metrics.inception_score import inception_score
from dit_accel.metrics.kernel_distance import kernel_distance
from dit_accel.metrics.prdc import prdc
from dit_accel.metrics.uncertainty import frechet_interval
from dit_accel.scoring.features import Features
from dit_accel.scoring.metric_spec import FeatureMetric, Value

SUBSETS, SUBSET_SIZE = 100, 1000
SPLITS = 10
SEED = 2020  # torch-fidelity's, whose subsets these are
_FEWEST_FOR_INTERVAL = 3
# Each pair by the neighbour of its own paper and of ADM's evaluator.
NEIGHBOURS = {"precision": 3, "recall": 3, "density": 5, "coverage": 5}


def frechet(metric: FeatureMetric, features: Features, others: Features | None) -> list[Value]:
    """Fréchet distance, with an interval where single pictures are known."""
    assert others is not None
    a, b = features.statistics(metric.output), others.statistics(metric.output)
    distance = frechet_distance(a.mean, a.cov, b.mean, b.cov)
    interval = None
    if (
        features.has_rows(metric.output)
        and len(features.rows(metric.output)) >= _FEWEST_FOR_INTERVAL
    ):
        interval = frechet_interval(features.rows(metric.output), b.mean, b.cov)
    return [Value(metric.name, metric.title, distance, interval=interval)]


def extrapolated(metric: FeatureMetric, features: Features, others: Features | None) -> list[Value]:
    """Fréchet distance extrapolated to infinitely many images."""
    assert others is not None
    reference = others.statistics(metric.output)
    rows = features.rows(metric.output)
    found = frechet_extrapolated(rows, reference.mean, reference.cov, seed=SEED)
    settings = {"sizes": list(found.sizes), "slope": found.slope, "seed": SEED}
    return [Value(metric.name, metric.title, found.value, settings=settings)]


def kernel(metric: FeatureMetric, features: Features, others: Features | None) -> list[Value]:
    """Kernel distance; sets that are smaller than two usual subsets are halved instead."""
    assert others is not None
    a, b = features.rows(metric.output), others.rows(metric.output)
    size = subset_size(len(a), len(b))
    found = kernel_distance(a, b, num_subsets=SUBSETS, subset_size=size, seed=SEED)
    settings = {"num_subsets": SUBSETS, "subset_size": size, "degree": 3, "seed": SEED}
    return [Value(metric.name, metric.title, found.value, std=found.std, settings=settings)]


def subset_size(n: int, m: int) -> int:
    """Rows of a subset: 1000, or half of a set that has no 1000.

    Raises:
        DitAccelError: a set has fewer than four pictures.
    """
    smaller = min(n, m)
    if smaller < 4:
        raise DitAccelError(
            f"kid: got sets of {n} and {m} pictures, expected at least 4 each; sample more"
        )
    return SUBSET_SIZE if smaller >= SUBSET_SIZE else smaller // 2


def neighbours(metric: FeatureMetric, features: Features, others: Features | None) -> list[Value]:
    """Precision, recall, density and coverage."""
    assert others is not None
    fake, real = features.rows(metric.output), others.rows(metric.output)
    found = {k: prdc(real, fake, nearest_k=k)._asdict() for k in set(NEIGHBOURS.values())}
    suffix = metric.name.removeprefix("prdc")
    return [
        Value(
            name + suffix,
            name + suffix.replace("_", "-"),
            found[k][name],
            settings={"nearest_k": k},
        )
        for name, k in NEIGHBOURS.items()
    ]


def clip_discrepancy(
    metric: FeatureMetric, features: Features, others: Features | None
) -> list[Value]:
    """CMMD, with the paper's kernel."""
    assert others is not None
    distance = cmmd(features.rows(metric.output), others.rows(metric.output))
    return [Value(metric.name, metric.title, distance, settings={"sigma": 10.0, "scale": 1000.0})]


def inception(metric: FeatureMetric, features: Features, others: Features | None) -> list[Value]:
    """Inception score."""
    found = inception_score(features.rows(metric.output), splits=SPLITS, seed=SEED)
    settings = {"splits": SPLITS, "seed": SEED}
    return [Value(metric.name, metric.title, **asdict(found), settings=settings)]
