"""The learned parts that a density method begins with, and where they are kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dit_accel.methods.sparse_density import SparseDensity
from dit_accel.nn.delta_segment import DeltaSegment
from dit_accel.nn.paper_segment import PaperSegment
from dit_accel.nn.sparse_segment import SparseSegment


def fresh_parts(transformer: Any, config: SparseDensity, count: int) -> nn.ModuleDict:
    """Parts that begin as the pretrained model's function, on its device and in its precision.

    Args:
        transformer: that they are for.
        config: which form they have.
        count: of segments.
    """
    weight = next(p for p in transformer.parameters() if p.is_floating_point())
    model = transformer.config
    channels = model.num_attention_heads * model.attention_head_dim
    dtype = weight.dtype if weight.dtype.itemsize > 1 else torch.float32
    # The weights of an offloaded model are elsewhere; the parts follow its latents.
    device = torch.device("cpu") if weight.is_meta else weight.device
    with torch.inference_mode(False):  # whoever generates first may train later
        parts = [_segment(config, channels, device=device, dtype=dtype) for _ in range(count)]
    return nn.ModuleDict({f"segment_{index}": part for index, part in enumerate(parts)})


def _segment(config: SparseDensity, channels: int, **factory: Any) -> SparseSegment:
    if config.form == "paper":
        return PaperSegment(channels, **factory)
    return DeltaSegment(channels, config.detail, **factory)


def follow(learned: nn.ModuleDict, device: torch.device) -> None:
    """Bring the parts to where the latents are."""
    first = next(learned.parameters(), None)
    if first is not None and first.device != device:
        with torch.inference_mode(False):
            learned.to(device)


def segments_of(learned: nn.ModuleDict) -> list[SparseSegment]:
    """The parts, segment by segment."""
    return [part for part in learned.values() if isinstance(part, SparseSegment)]
