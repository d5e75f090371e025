"""What a metric is to the scorer: what it needs, and how it turns that into values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

from torch import Tensor

from dit_accel.extractors.extractor import Extractor
from dit_accel.metrics.estimate import Interval
from dit_accel.scoring.records import Direction

IntervalMethod = Literal["influence", "subsets"]
Against = Literal["reference", "baseline", "prompts"]


@dataclass(frozen=True)
class Value:
    """One number of one metric, before it is known what set it belongs to.

    Attributes:
        metric: key in ``scores.jsonl``.
        title: what it is called, without N.
        value: infinite only for the PSNR of identical pictures.
        std: spread that the estimator gives, in the units of the value.
        interval: confidence interval of the value.
        settings: everything that changes the number and is not in the extractor or the images.
    """

    metric: str
    title: str
    value: float
    std: float | None = None
    interval: Interval | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompts:
    """The texts that pictures were made from, and the network that is to compare the two.

    Attributes:
        texts: one a picture, in the order of the pictures.
        extractor: of the metric.
    """

    texts: Sequence[str]
    extractor: Extractor

    def settings(self, asked: int) -> dict[str, Any]:
        """What a value says of them: how many asked for something of it, and a hash of all."""
        digest = hashlib.sha256(json.dumps(list(self.texts)).encode()).hexdigest()
        return {"prompts": asked, "prompts_sha256": digest}


Compute: TypeAlias = Callable[..., list[Value]]
"""``(metric, features, *others) -> values``, with one of ``others`` for each side of `against`:
`Features` of a set, or `Prompts`."""


def _any_prompts(texts: Sequence[str]) -> None:
    """Most metrics can do with any prompts."""


@dataclass(frozen=True)
class FeatureMetric:
    """A metric of features.

    Attributes:
        name: as it is asked for.
        title: as it is called in a label.
        extractor: name of the extractor; None for the one that the caller chooses.
        against: what it compares with: of what the further arguments of `compute` are.
        better: direction.
        compute: see `Compute`.
        output: of the extractor.
        rows: whether it needs the rows of single pictures; statistics alone do otherwise.
        interval: how a Fréchet distance gets its interval where rows are known.
        check_prompts: raises `DitAccelError` for prompts of which the metric can say nothing.
    """

    name: str
    title: str
    extractor: str | None
    against: tuple[Against, ...]
    better: Direction
    compute: Compute
    output: str = "features"
    rows: bool = False
    interval: IntervalMethod = "influence"
    check_prompts: Callable[[Sequence[str]], None] = field(default=_any_prompts)


@dataclass(frozen=True)
class Compare:
    """Two uint8 batches ``[B, 3, H, W]`` to one value a pair, ``[B]``.

    Attributes:
        compare: does it.
        network: record of the network in it, if there is one.
    """

    compare: Callable[[Tensor, Tensor], Tensor]
    network: dict[str, str] | None = None


@dataclass(frozen=True)
class PictureMetric:
    """A metric of two pictures of the same seed: of the run, and of the baseline.

    Attributes:
        name: as it is asked for.
        title: as it is called in a label.
        better: direction.
        load: ``(weights file or folder, device)`` to what compares.
    """

    name: str
    title: str
    better: Direction
    load: Callable[[Path | None, str], Compare]
    against: ClassVar[tuple[Against, ...]] = ("baseline",)


Metric: TypeAlias = FeatureMetric | PictureMetric
