"""The texts that pictures were made from, and as CLIP embeds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from dit_accel.errors import DitAccelError, mismatch
from dit_accel.extractors.extractor import Extractor
from dit_accel.sampling.conditions.prompts import read_prompts
from dit_accel.scoring.features import Rows
from dit_accel.scoring.image_sets import RunImages
from dit_accel.scoring.sources import PictureSource, Source

_BATCH = 64


@runtime_checkable
class TextExtractor(Protocol):
    """An extractor that embeds texts among its pictures."""

    def text_features(self, prompts: Sequence[str]) -> torch.Tensor:
        """Embeddings ``[B, D]`` of texts."""


def prompts_of(source: Source, file: Path | None, metric: str) -> list[str]:
    """The prompt of every picture, in the order of the pictures.

    Args:
        source: a run, whose manifest knows the prompts, or pictures.
        file: texts in the order of the pictures (by index, for a run), used instead.
        metric: name of the one that asks.

    Raises:
        DitAccelError: there are no prompts, or not as many as pictures.
    """
    images = source.images if isinstance(source, PictureSource) else None
    records = images.records if isinstance(images, RunImages) else None
    if file is not None:
        texts = read_prompts(file)
        wanted = source.expected if records is None else max(r.index for r in records) + 1
        if wanted is None or len(texts) < wanted:
            remedy = "give one line for every picture"
            raise DitAccelError(f"prompts: {mismatch(len(texts), f'{wanted} texts', remedy)}")
        return texts[:wanted] if records is None else [texts[r.index] for r in records]
    found = [record.prompt for record in records or () if record.prompt is not None]
    if not found or len(found) != source.count:
        raise DitAccelError(
            f"{source.name}: its pictures have no prompts on record, which {metric} compares "
            "them with; give a file with --prompts, or leave the metric out"
        )
    return found


def prompt_rows(extractor: Extractor, prompts: Sequence[str]) -> Rows:
    """Embeddings ``[N, D]`` of prompts, float32, as pictures are compared with.

    Raises:
        DitAccelError: the extractor embeds no texts.
    """
    if not isinstance(extractor, TextExtractor):
        raise DitAccelError(f"clip_score: extractor '{extractor.name}' embeds no texts; use CLIP")
    batches = [prompts[start : start + _BATCH] for start in range(0, len(prompts), _BATCH)]
    rows: Rows = torch.cat([extractor.text_features(b).float().cpu() for b in batches]).numpy()
    return rows
