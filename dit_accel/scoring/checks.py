"""What makes a score meaningless or misleading, in words; empty where nothing does.

These are refused, or with ``--force`` computed all the same and marked in the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dit_accel.errors import DitAccelError, show
from dit_accel.runs import ImageRecord
from dit_accel.scoring.metric_spec import FeatureMetric, Metric
from dit_accel.scoring.sources import KnownSource, Source


def check_complete(source: Source, allow_partial: bool) -> None:
    """Refuse a set of which images are missing, unless that was asked for.

    Raises:
        DitAccelError: with both numbers.
    """
    if source.count != source.expected and not allow_partial:
        raise DitAccelError(
            f"{source.name}: has {source.count} of {source.expected} images; run 'dit-accel "
            "sample' to the end, or give --allow-partial, which labels the score as partial"
        )


def count_of(source: Source) -> int:
    """How many images a set holds.

    Raises:
        DitAccelError: its file does not say; a score without N is none.
    """
    if source.count is None:
        raise DitAccelError(
            f"{source.name}: does not say of how many images it is; only as a reference can such "
            "a file be used"
        )
    return source.count


def check_supply(source: Source, metric: Metric) -> None:
    """Refuse a metric that needs what a file does not hold.

    Raises:
        DitAccelError: naming the metric and what is missing.
    """
    if not isinstance(metric, FeatureMetric) or "prompts" in metric.against:
        return
    if not source.supplies(metric.output, rows=metric.rows):
        what = f"{metric.output} of single images" if metric.rows else f"{metric.output} statistics"
        raise DitAccelError(
            f"{source.name}: holds no {what}, which {metric.name} needs; give a set of images, or "
            "a file of 'dit-accel reference' (without --no-features)"
        )


def count_problems(counts: Mapping[str, int | None]) -> Iterator[str]:
    """Sets of different size: every distribution metric has a bias that depends on N."""
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        yield f"sets of different N cannot be compared ({listed}); use as many images of each"


def extractor_problems(source: Source, record: Mapping[str, str]) -> Iterator[str]:
    """Features of another network, of other weights, or of pictures resized by another rule."""
    made_with = source.made_with
    if made_with is None:
        return
    for key, wanted in record.items():
        if key in made_with and made_with[key] != wanted:
            yield (
                f"{source.name}: was made with {key} {show(made_with[key])} of the extractor, this "
                f"score uses {show(wanted)}; make the reference anew with 'dit-accel reference'"
            )


def trust_notes(source: Source, extractor: str) -> Iterator[str]:
    """What cannot be checked: which extractor made a file that does not name it."""
    if isinstance(source, KnownSource) and source.made_with is None:
        yield f"{source.name}: does not name its extractor; taken for {extractor} on trust"


def pairing_problems(
    records: Sequence[ImageRecord], others: Sequence[ImageRecord]
) -> Iterator[str]:
    """Runs whose images of an index do not come from the same seed and condition."""
    known = {record.index: record for record in others}
    if {record.index for record in records} != set(known):
        yield "the baseline holds images of other indices; sample both sets to the end"
    differing = [
        record.index
        for record in records
        if record.index in known and _origin(record) != _origin(known[record.index])
    ]
    if differing:
        first = differing[0]
        mine = next(record for record in records if record.index == first)
        yield (
            f"{len(differing)} images have another seed or condition than in the baseline, image "
            f"{first} for one: {_worded(mine)}, there {_worded(known[first])}; sample both from "
            "one config that differs in plan, scheduler or steps alone"
        )


def _origin(record: ImageRecord) -> tuple[int, int | None, str | None]:
    return record.seed, record.class_label, record.prompt


def _worded(record: ImageRecord) -> str:
    condition = record.prompt if record.class_label is None else record.class_label
    return f"seed {record.seed}, {show(condition)}"
