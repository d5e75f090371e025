"""``prompt_accuracy``: how many pictures show what their prompts ask for, with what certainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from dit_accel.errors import DitAccelError, show
from dit_accel.scoring.features import Features
from dit_accel.scoring.metric_spec import FeatureMetric, Prompts, Value
from dit_accel.scoring.prompt_accuracy import judge
from dit_accel.training.captions import PHOTOGRAPHS, read_caption

TITLES = {
    "photograph": "photograph as prompted",
    "part": "part as prompted",
    "nearness": "nearness as prompted",
    "mirrored": "mirroring as prompted",
}
"""What each share is called, by the attribute of `prompt_accuracy.ATTRIBUTES`."""


@runtime_checkable
class SeeingExtractor(Protocol):
    """An extractor whose features can be asked what the picture shows."""

    def heads(self, features: Tensor) -> dict[str, Tensor]:
        """What features ``[B, D]`` say; see `extractors.ref.RefNetwork.heads`."""


def accuracy(metric: FeatureMetric, features: Features, prompts: Prompts) -> list[Value]:
    """The share of pictures that follow, of those that were asked, attribute by attribute.

    Raises:
        DitAccelError: the extractor has no heads.
    """
    extractor = prompts.extractor
    if not isinstance(extractor, SeeingExtractor):
        raise DitAccelError(f"{metric.name}: extractor '{extractor.name}' has no heads; use ref")
    heads = extractor.heads(torch.tensor(features.rows(metric.output)))
    found = judge(heads, [read_caption(text) for text in prompts.texts])
    return [
        Value(
            f"prompt_{name}",
            TITLES[name],
            followed.share,
            interval=followed.interval,
            settings={"interval": "wilson", **prompts.settings(followed.count)},
        )
        for name, followed in found.items()
    ]


def check_prompts(texts: Sequence[str]) -> None:
    """Refuse prompts of which none names one of the photographs: nothing could be counted.

    Raises:
        DitAccelError: with the first prompt and what could be named.
    """
    if all(read_caption(text).photograph is None for text in texts):
        raise DitAccelError(
            f"prompt_accuracy: none of {len(texts)} prompts (such as {show(texts[0])}) names one "
            f"photograph of {', '.join(PHOTOGRAPHS)}; it judges models of these alone, leave it out"
        )
