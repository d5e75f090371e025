"""Metrics of single pictures or features, averaged: against the dense run, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dit_accel.extractors.lpips import load_lpips
from dit_accel.measure.fidelity import image_psnr, image_ssim
from dit_accel.metrics.estimate import Interval
from dit_accel.metrics.frechet import frechet_distance
from dit_accel.metrics.uncertainty import frechet_difference_interval, frechet_influence
from dit_accel.scoring.features import Features, Rows
from dit_accel.scoring.metric_spec import Compare, FeatureMetric, Prompts, Value
from dit_accel.scoring.prompts import prompt_rows

LEVEL = 0.95
_FEWEST_FOR_INTERVAL = 3


def mean_value(
    metric: str, title: str, values: NDArray[Any], settings: Mapping[str, Any] | None = None
) -> Value:
    """The mean over pictures, with its 95 % interval: that of a mean of many independent values.

    Args:
        metric: key of the value.
        title: what it is called.
        values: ``[N]``, one a picture; infinities (identical pictures) make the mean infinite.
        settings: kept with the value.
    """
    values = np.asarray(values, dtype=np.float64)
    settings = dict(settings or {})
    if np.isinf(values).any():
        return Value(
            metric, title, math.inf, settings={**settings, "identical": int(np.isinf(values).sum())}
        )
    mean = float(values.mean())
    if len(values) < 2:
        return Value(metric, title, mean, settings=settings)
    std = float(values.std(ddof=1))
    return Value(metric, title, mean, std, _around(mean, values), settings)


def _around(value: float, influences: NDArray[np.float64]) -> Interval:
    """Interval of a value that is, to first order, the mean of what the pictures add to it."""
    error = float(influences.std(ddof=1)) / math.sqrt(len(influences))
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * error
    return Interval(value - half, value + half, LEVEL)


def frechet(metric: FeatureMetric, features: Features, baseline: Features) -> list[Value]:
    """Fréchet distance of two runs of the same seeds.

    Neither side is given, and what a seed does to one it does to the other: the influence of a
    seed is the sum of its pictures' influences, which nearly cancel where the runs are alike.
    """
    a, b = features.statistics(metric.output), baseline.statistics(metric.output)
    distance = frechet_distance(a.mean, a.cov, b.mean, b.cov)
    if a.n is None or a.n < _FEWEST_FOR_INTERVAL:
        return [Value(metric.name, metric.title, distance)]
    influence = frechet_influence(features.rows(metric.output), b.mean, b.cov)
    influence += frechet_influence(baseline.rows(metric.output), a.mean, a.cov)
    return [Value(metric.name, metric.title, distance, interval=_around(distance, influence))]


def difference(
    metric: FeatureMetric, features: Features, baseline: Features, reference: Features
) -> list[Value]:
    """Fréchet distance to the reference less the baseline's, below 0 where the run is nearer.

    What the seeds have in common cancels from the interval, and the bias of N from the value: of
    two runs whose own intervals overlap, this may still say which is nearer.
    """
    real = reference.statistics(metric.output)
    mine, theirs = (side.statistics(metric.output) for side in (features, baseline))
    distance, other = (frechet_distance(s.mean, s.cov, real.mean, real.cov) for s in (mine, theirs))
    title = metric.title.format(Path(baseline.name).name)
    rows, others = features.rows(metric.output), baseline.rows(metric.output)
    interval = None
    if len(rows) >= _FEWEST_FOR_INTERVAL:
        interval = frechet_difference_interval(rows, others, real.mean, real.cov)
    return [Value(metric.name, title, distance - other, interval=interval)]


def cosine(metric: FeatureMetric, features: Features, baseline: Features) -> list[Value]:
    """Cosine of the features of the two pictures of a seed."""
    values = _cosines(features.rows(metric.output), baseline.rows(metric.output))
    return [mean_value(metric.name, metric.title, values)]


def clip_score(metric: FeatureMetric, features: Features, prompts: Prompts) -> list[Value]:
    """CLIPScore (Hessel et al. 2021) on torchmetrics' scale: 100 max(cos, 0) with the prompt."""
    values = _cosines(features.rows(metric.output), prompt_rows(prompts.extractor, prompts.texts))
    settings = {"scale": 100, **prompts.settings(len(prompts.texts))}
    return [mean_value(metric.name, metric.title, 100 * values.clip(min=0), settings)]


def _cosines(a: Rows, b: Rows) -> NDArray[np.float64]:
    x, y = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    with np.errstate(invalid="ignore"):  # of features that are all zero: the scorer refuses NaN
        cosines: NDArray[np.float64] = (x * y).sum(axis=1) / lengths
    return cosines


def load_psnr(weights: Path | None, device: str) -> Compare:
    """Peak signal-to-noise ratio, dB."""
    return Compare(lambda a, b: image_psnr(_unit(a, device), _unit(b, device)))


def load_ssim(weights: Path | None, device: str) -> Compare:
    """Structural similarity, with torchmetrics' 11 x 11 Gaussian window."""
    return Compare(lambda a, b: image_ssim(_unit(a, device), _unit(b, device)))


def load_lpips_alex(weights: Path | None, device: str) -> Compare:
    """LPIPS with AlexNet."""
    network = load_lpips(weights, device)
    record = {
        "name": network.name,
        "version": network.version,
        "sha256": network.weights_sha256,
        "resize": network.resize,
    }
    return Compare(network, record)


def _unit(images: Tensor, device: str) -> Tensor:
    return images.to(device).float() / 255
