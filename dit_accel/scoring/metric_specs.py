"""Metrics by the name they are asked for.

What is made with the shipped extractor is called FD-ref, KID-ref and so on; the name FID is kept
for the published Inception network and its two published resize rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import get_args

from dit_accel.errors import DitAccelError, did_you_mean, mismatch
from dit_accel.extractors.registry import check_extractor_name
from dit_accel.scoring import distribution, paired, prompted
from dit_accel.scoring.metric_spec import FeatureMetric, IntervalMethod, Metric, PictureMetric

TF, CLEAN, DINO, CLIP, REF = (
    "inception-tf",
    "inception-clean",
    "dinov2-vitl14",
    "clip-vit-l-14",
    "ref",
)

FRECHET_TITLES = {TF: "FID", CLEAN: "FID-clean", DINO: "FD-DINOv2", CLIP: "FD-CLIP", REF: "FD-ref"}
"""What a Fréchet distance is called, by its extractor."""

FEWEST_FOR_INCEPTION = 2048
"""With fewer pictures than features the covariance is singular, and FID says little."""


def _frechet(name: str, title: str, extractor: str, output: str = "features") -> FeatureMetric:
    compute = distribution.frechet
    return FeatureMetric(name, title, extractor, ("reference",), "lower", compute, output)


_of_rows = partial(FeatureMetric, rows=True)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        _frechet("fid", FRECHET_TITLES[TF], TF),
        _frechet("fid_clean", FRECHET_TITLES[CLEAN], CLEAN),
        _frechet("sfid", "sFID", TF, "spatial"),
        _of_rows("is", "IS", TF, (), "higher", distribution.inception, "logits"),
        _of_rows("kid", "KID", TF, ("reference",), "lower", distribution.kernel),
        _of_rows("prdc", "PRDC", TF, ("reference",), "higher", distribution.neighbours),
        _of_rows("fid_infinity", "FID∞", TF, ("reference",), "lower", distribution.extrapolated),
        _frechet("fd_dinov2", FRECHET_TITLES[DINO], DINO),
        _of_rows("cmmd", "CMMD", CLIP, ("reference",), "lower", distribution.clip_discrepancy),
        _of_rows("clip_score", "CLIPScore", CLIP, ("prompts",), "higher", paired.clip_score),
        _frechet("fd_ref", FRECHET_TITLES[REF], REF),
        _of_rows(
            "fd_ref_infinity", "FD∞-ref", REF, ("reference",), "lower", distribution.extrapolated
        ),
        _of_rows(
            "prompt_accuracy",
            "prompt accuracy",
            REF,
            ("prompts",),
            "higher",
            prompted.accuracy,
            check_prompts=prompted.check_prompts,
        ),
        _of_rows("kid_ref", "KID-ref", REF, ("reference",), "lower", distribution.kernel),
        _of_rows("prdc_ref", "PRDC-ref", REF, ("reference",), "higher", distribution.neighbours),
        _of_rows(
            "fd_ref_delta",
            "ΔFD-ref to {0}",
            REF,
            ("baseline", "reference"),
            "lower",
            paired.difference,
        ),
        PictureMetric("psnr", "PSNR, dB", "higher", paired.load_psnr),
        PictureMetric("ssim", "SSIM", "higher", paired.load_ssim),
        PictureMetric("lpips", "LPIPS (AlexNet)", "lower", paired.load_lpips_alex),
        _of_rows("feature_cosine", "cosine-{0}", None, ("baseline",), "higher", paired.cosine),
        _of_rows("fd_to_dense", "{1} to dense", None, ("baseline",), "lower", paired.frechet),
    )
}


def find_metrics(
    names: Iterable[str], extractor: str = REF, interval: IntervalMethod = "influence"
) -> list[Metric]:
    """Metrics by name, each once.

    Args:
        names: keys of `METRICS`.
        extractor: for the paired metrics of features, which work with any.
        interval: of Fréchet distances.

    Raises:
        DitAccelError: a name is none of these, or there is none at all.
    """
    check_extractor_name(extractor)
    methods = get_args(IntervalMethod)
    if interval not in methods:
        remedy = did_you_mean(interval, methods) + "influence is the faster one"
        raise DitAccelError("interval: " + mismatch(interval, " or ".join(methods), remedy))
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in METRICS:
            remedy = did_you_mean(name, METRICS) + "see docs/scores.md"
            raise DitAccelError("metrics: " + mismatch(name, ", ".join(METRICS), remedy))
    if not wanted:
        raise DitAccelError(f"metrics: none given; expected some of {', '.join(METRICS)}")
    return [_settled(METRICS[name], extractor, interval) for name in wanted]


def fewest_images(metric: Metric) -> int:
    """From how many images on a metric is meant to be used."""
    inception = isinstance(metric, FeatureMetric) and metric.extractor in (TF, CLEAN)
    frechet = isinstance(metric, FeatureMetric) and metric.compute is distribution.frechet
    return FEWEST_FOR_INCEPTION if inception and frechet else 0


def _settled(metric: Metric, extractor: str, interval: IntervalMethod) -> Metric:
    """Settle the extractor of a metric that leaves it open, and name it in the title."""
    if isinstance(metric, PictureMetric):
        return metric
    metric = replace(metric, interval=interval)
    if metric.extractor is not None:
        return metric
    family = FRECHET_TITLES[extractor]
    return replace(metric, extractor=extractor, title=metric.title.format(extractor, family))
