"""`guidance_rows`: what the two guidance rows of a sample have in common is computed once.

With batched guidance the second half of the latents repeats the first. They part where the label or
the text enters: in DiT in the first block's modulation, so that they share the patch embedding; in
PixArt in the first block's cross-attention, so that they share its self-attention too.

Whether the halves are equal is looked at on the CPU, where that is cheap. On an accelerator it
would make the host wait at every step for half a per cent, so there it has to be announced:
``dit_accel.run(..., guidance=True)``.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.hooks import ModelHook
from torch import nn

from dit_accel.backbones.backbone import halves_equal
from dit_accel.exact.forward import Forward, TensorForward
from dit_accel.integration.attach import EXACT_HOOK_NAME, attach


class _HalfHook(ModelHook):
    """Runs a module on the first half of its rows and repeats the result.

    Attributes:
        rows: how many rows have equal halves; 0 if none. Another number of rows was gathered on
            the way and is computed as it comes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def new_forward(
        self, module: nn.Module, tensor: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """`[R, ...] -> [R, ...]`."""
        forward: TensorForward = self.fn_ref.original_forward
        if tensor.shape[0] != self.rows or kwargs.get("attention_mask") is not None:
            return forward(tensor, *args, **kwargs)
        half = forward(tensor[: self.rows // 2], *args, **kwargs)
        return torch.cat([half, half])


class GuidanceRows:
    """The rewrite on one transformer.

    Args:
        patch_embedding: latents to tokens.
        attention: self-attention of the first block where it knows of no condition but the
            timestep, or else `None`.
    """

    def __init__(self, patch_embedding: nn.Module, attention: nn.Module | None) -> None:
        self._patches, self._attention = _HalfHook(), _HalfHook()
        attach(patch_embedding, self._patches, EXACT_HOOK_NAME)
        if attention is not None:
            attach(attention, self._attention, EXACT_HOOK_NAME)

    @property
    def nbytes(self) -> int:
        """Nothing is kept."""
        return 0

    def stand_aside(self) -> None:
        """All rows are computed."""
        self._patches.rows = self._attention.rows = 0

    def forget(self) -> None:
        """Nothing is kept."""
        self.stand_aside()

    def begin_forward(self, forward: Forward) -> dict[str, Any]:
        """Look whether the halves are equal."""
        self.stand_aside()
        rows = len(forward.latents)
        if not _same_halves(forward):
            return {}
        self._patches.rows = rows
        keys = forward.keys
        # A matching that later layers share is made on all rows, and so are keys of other tokens.
        first = forward.layers[0]
        merged = first.merge_attention is not None or first.hands_tokens
        if keys is not None and keys[: rows // 2] == keys[rows // 2 :] and not merged:
            self._attention.rows = rows
        return {}


def _same_halves(forward: Forward) -> bool:
    latents = forward.latents
    if forward.guided is False or len(latents) % 2:
        return False
    if latents.device.type == "cpu":
        return halves_equal(latents)
    return forward.guided is True
