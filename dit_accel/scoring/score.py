"""The scores of image sets: from paths, or straight from a sampler without any file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dit_accel.errors import DitAccelError
from dit_accel.extractors.extractor import Extractor
from dit_accel.scoring.metric_specs import find_metrics
from dit_accel.scoring.opening import open_source
from dit_accel.scoring.records import ScoreRecord
from dit_accel.scoring.scorer import Notify, Scorer, ScoreRequest, silent
from dit_accel.scoring.streams import SeenSamples

if TYPE_CHECKING:
    from dit_accel.sampling.generate import Sample


def score(
    target: str | Path,
    metrics: Iterable[str],
    *,
    notify: Notify = silent,
    extractors: Mapping[str, Extractor] | None = None,
    **options: Any,
) -> list[ScoreRecord]:
    """Score one set.

    Args:
        target: a run, a folder of pictures, an ADM ``.npz`` or a file of statistics.
        metrics: names of `dit_accel.scoring.metric_specs.METRICS`.
        notify: told what a reader of the numbers should know.
        extractors: networks that are loaded already, by name.
        options: the other fields of `ScoreRequest`, such as ``reference`` and ``baseline``.

    Returns:
        One record a value (PRDC gives four), in the order of the metrics.

    Raises:
        DitAccelError: a set cannot be read, or the score would mislead.
    """
    request = ScoreRequest(tuple(metrics), **options)
    [records] = score_all([target], request, notify=notify, extractors=extractors)
    return records


def score_all(
    targets: Sequence[str | Path],
    request: ScoreRequest,
    *,
    notify: Notify = silent,
    extractors: Mapping[str, Extractor] | None = None,
) -> list[list[ScoreRecord]]:
    """Score sets that will be compared with each other, so that their N must be equal.

    The reference is opened first: what it cannot serve is refused before any picture is read.

    Raises:
        DitAccelError: as `score`.
    """
    scorer = Scorer(request, notify, extractors)
    return scorer.score([open_source(target) for target in targets])


def score_samples(
    samples: Iterable[Sample],
    metrics: Iterable[str],
    *,
    notify: Notify = silent,
    extractors: Mapping[str, Extractor] | None = None,
    **options: Any,
) -> list[ScoreRecord]:
    """Score images as `dit_accel.sampling.generate.generate` makes them; none is kept.

    Args:
        samples: each is looked at once, by all extractors.
        metrics: as for `score`; those of prompts or a baseline need a run folder.
        notify: as for `score`.
        extractors: as for `score`.
        options: as for `score`.

    Raises:
        DitAccelError: as `score`; before the first sample is made where it can be known before.
    """
    names = tuple(metrics)
    for metric in find_metrics(names):
        if not {"baseline", "prompts"}.isdisjoint(metric.against):
            raise DitAccelError(
                f"metrics: {metric.name} needs the records of a run folder; sample to one and "
                "score that, or leave it out"
            )
    scorer = Scorer(ScoreRequest(names, **options), notify, extractors)
    return scorer.score([SeenSamples(samples, scorer.networks())])[0]
