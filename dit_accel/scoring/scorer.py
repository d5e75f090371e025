"""Scores of image sets: what is asked for is checked, then looked at, then put on record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dit_accel.errors import DitAccelError
from dit_accel.extractors.extractor import Extractor, extractor_record
from dit_accel.extractors.registry import load_extractor
from dit_accel.measure.provenance import provenance
from dit_accel.scoring import checks
from dit_accel.scoring.features import Features
from dit_accel.scoring.labels import label
from dit_accel.scoring.metric_spec import (
    Against,
    FeatureMetric,
    IntervalMethod,
    Metric,
    PictureMetric,
    Prompts,
    Value,
)
from dit_accel.scoring.metric_specs import fewest_images, find_metrics
from dit_accel.scoring.opening import open_source
from dit_accel.scoring.pairing import Pair, compare_pictures, pair, run_images
from dit_accel.scoring.prompts import prompts_of
from dit_accel.scoring.records import ScoreRecord
from dit_accel.scoring.sources import Source

Notify = Callable[[str], None]


def silent(text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class ScoreRequest:
    """What to compute, and against what.

    Attributes:
        metrics: names of `dit_accel.scoring.metric_specs.METRICS`.
        reference: real pictures: a reference file, a file of statistics, or a set of images.
        baseline: run that paired metrics compare with, image by image.
        extractor: of the paired metrics of features.
        weights: weights file, or folder of them, for extractors that do not ship with the package.
        prompts: file of the prompts of the pictures, where the manifest has none.
        force: compute what would be refused, and mark it.
        allow_partial: score a set that is not complete, and label it.
        interval: how Fréchet distances get theirs: by the influence of each image, or from
            random subsets (100 distances more, which takes minutes with 2048 features).
        device: where networks run.
    """

    metrics: tuple[str, ...]
    reference: str | Path | None = None
    baseline: str | Path | None = None
    extractor: str = "ref"
    weights: Path | None = None
    prompts: Path | None = None
    force: bool = False
    allow_partial: bool = False
    interval: IntervalMethod = "influence"
    device: str = "cpu"


class Scorer:
    """Opens reference, baseline and extractors once, for any number of sets.

    Args:
        request: what to compute.
        notify: told what a reader of the numbers should know.
        extractors: networks that are loaded already, by name.

    Raises:
        DitAccelError: a metric is unknown, lacks its reference or baseline, or the reference does
            not hold what it needs.
    """

    def __init__(
        self,
        request: ScoreRequest,
        notify: Notify = silent,
        extractors: Mapping[str, Extractor] | None = None,
    ) -> None:
        self.request, self._notify = request, notify
        self.metrics = find_metrics(request.metrics, request.extractor, request.interval)
        self.reference = self._open("reference", request.reference)
        self.baseline = self._open("baseline", request.baseline)
        self._extractors = dict(extractors or {})

    def score(self, sources: Sequence[Source]) -> list[list[ScoreRecord]]:
        """Score sets that will be compared with each other.

        Returns:
            For every set one record a value, in the order of the metrics.

        Raises:
            DitAccelError: naming every problem, before anything was looked at where it can be
                known before; with ``force``, only what cannot be computed.
        """
        for source in sources:
            self._check(source)
        problems = list(self._problems(sources))
        self._settle(problems)
        made = provenance()
        return [
            [
                self._record(metric, scored, source, made, bool(problems))
                for metric, scored in self._scored(source)
            ]
            for source in sources
        ]

    def networks(self) -> list[Extractor]:
        """All extractors of the metrics, loaded."""
        names = [m.extractor for m in self.metrics if isinstance(m, FeatureMetric) and m.extractor]
        return [self._extractor(name) for name in dict.fromkeys(names)]

    def _extractor(self, name: str) -> Extractor:
        if name not in self._extractors:
            weights = None if name == "ref" else self.request.weights
            device = self.request.device
            self._extractors[name] = load_extractor(name, weights=weights, device=device)
        return self._extractors[name]

    def _open(self, role: Against, data: str | Path | None) -> Source | None:
        """Open the reference or the baseline, if a metric needs it, and check what it can give."""
        metrics = [metric for metric in self.metrics if role in metric.against]
        if not metrics:
            return None
        if data is None:
            raise DitAccelError(f"{role}: missing, which {metrics[0].name} needs; give --{role}")
        source = open_source(data)
        checks.check_complete(source, self.request.allow_partial)
        for metric in metrics:
            checks.check_supply(source, metric)
        return source

    def _check(self, source: Source) -> None:
        checks.check_complete(source, self.request.allow_partial)
        checks.count_of(source)
        for metric in self.metrics:
            checks.check_supply(source, metric)
            if isinstance(metric, FeatureMetric) and "prompts" in metric.against:
                self._prompts(metric, source)

    def _problems(self, sources: Sequence[Source]) -> Iterator[str]:
        """What makes these sets incomparable."""
        sides = [*sources]
        if self.baseline is not None:
            sides.append(self.baseline)
            theirs = run_images(self.baseline).records
            for source in sources:
                yield from checks.pairing_problems(run_images(source).records, theirs)
        yield from checks.count_problems({side.name: side.count for side in sides})

    def _settle(self, problems: Sequence[str]) -> None:
        """Refuse, or with ``force`` say what was overridden."""
        if problems and not self.request.force:
            remedy = "with --force they are computed all the same, and marked"
            raise DitAccelError("\n".join([*problems, remedy]))
        for problem in problems:
            self._notify(f"forced: {problem}")

    def _scored(self, source: Source) -> Iterator[tuple[Metric, _Scored]]:
        """Every value of one set, in the order of the metrics."""
        paired = None if self.baseline is None else pair(source, self.baseline)
        pictures = dict(self._of_pictures(paired))
        for metric in self.metrics:
            if isinstance(metric, PictureMetric):
                yield metric, pictures[metric.name]
            else:
                for scored in self._of_features(metric, source, paired):
                    yield metric, scored

    def _of_pictures(self, paired: Pair | None) -> Iterator[tuple[str, _Scored]]:
        metrics = [metric for metric in self.metrics if isinstance(metric, PictureMetric)]
        if paired is not None and metrics:
            found = compare_pictures(paired, metrics, self.request.weights, self.request.device)
            for metric, compare, value in found:
                yield metric.name, _Scored(value, paired.count, compare.network)

    def _of_features(
        self, metric: FeatureMetric, source: Source, paired: Pair | None
    ) -> Iterator[_Scored]:
        assert metric.extractor is not None  # settled by find_metrics
        extractor = self._extractor(metric.extractor)
        network = extractor_record(extractor)
        mine: Source = source
        known: dict[str, Source] = {} if self.reference is None else {"reference": self.reference}
        if "baseline" in metric.against and paired is not None:
            mine, known["baseline"] = paired.run, paired.baseline
        sides = [mine, *(known[role] for role in metric.against if role in known)]
        problems = [p for side in sides for p in checks.extractor_problems(side, network)]
        self._settle(problems)
        for side in sides:
            for note in checks.trust_notes(side, extractor.name):
                self._notify(note)
        count = checks.count_of(mine)
        others: list[Features | Prompts] = [side.features(extractor) for side in sides[1:]]
        if "prompts" in metric.against:
            others.append(Prompts(self._prompts(metric, source), extractor))
        for value in metric.compute(metric, mine.features(extractor), *others):
            yield _Scored(value, count, network, bool(problems))

    def _prompts(self, metric: FeatureMetric, source: Source) -> list[str]:
        """The prompt of every picture, if the metric can do with them."""
        texts = prompts_of(source, self.request.prompts, metric.name)
        try:
            metric.check_prompts(texts)
        except DitAccelError as error:
            raise DitAccelError(f"{source.name}: {error}") from None
        return texts

    def _record(
        self, metric: Metric, scored: _Scored, source: Source, made: dict[str, Any], forced: bool
    ) -> ScoreRecord:
        value, n = scored.value, scored.count
        if math.isnan(value.value):
            raise DitAccelError(
                f"{source.name}: {value.metric} is not a number, expected a finite score; look for "
                "pictures without any content, and at the network's precision"
            )
        expected = source.expected or n
        fewest = fewest_images(metric)
        interval = value.interval
        return ScoreRecord(
            metric=value.metric,
            label=label(value.title, n, expected, fewest, asked=value.settings.get("prompts")),
            value=value.value if math.isfinite(value.value) else None,
            std=value.std,
            interval=None if interval is None else (interval.low, interval.high),
            level=None if interval is None else interval.level,
            n=n,
            complete=n == expected,
            better=metric.better,
            extractor=scored.network,
            reference=self._reference_record(metric),
            baseline=self._baseline_record(metric),
            settings=dict(value.settings),
            images={"path": source.name, "fingerprint": source.fingerprint},
            provenance=made,
            time=time.time(),
            forced=forced or scored.forced,
        )

    def _reference_record(self, metric: Metric) -> dict[str, Any] | None:
        if "reference" not in metric.against or self.reference is None:
            return None
        reference = self.reference
        return {
            "name": reference.name,
            "sha256": reference.fingerprint,
            "n": reference.count,
        }

    def _baseline_record(self, metric: Metric) -> dict[str, Any] | None:
        if "baseline" not in metric.against or self.baseline is None:
            return None
        run = run_images(self.baseline)
        return {
            "path": self.baseline.name,
            "fingerprint": run.folder.fingerprint,
            "images": run.fingerprint,
        }


@dataclass(frozen=True)
class _Scored:
    """A value, and what it is of."""

    value: Value
    count: int
    network: dict[str, str] | None
    forced: bool = False
