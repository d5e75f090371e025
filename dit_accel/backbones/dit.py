"""DiT (arXiv 2212.09748): `diffusers.DiTTransformer2DModel`, class-conditional, square images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import DiTTransformer2DModel
from torch import nn

from dit_accel.backbones.backbone import halves_equal
from dit_accel.backbones.basic_blocks import BasicBlocks
from dit_accel.errors import UnsupportedError
from dit_accel.exact.block_modulations import BlockModulations
from dit_accel.exact.forward import Rewrite
from dit_accel.tokens.grid import Grid


class DiT(BasicBlocks):
    """Image tokens only; with guidance the rows are `[conditional, unconditional]`."""

    model_class: ClassVar[type[nn.Module]] = DiTTransformer2DModel
    row_arguments: ClassVar[tuple[str, ...]] = ("timestep", "class_labels")
    conditional_first: ClassVar[bool] = True
    guidance_is_certain: ClassVar[bool] = True

    def grid(self, transformer: Any, latents: torch.Tensor) -> Grid:
        """Token grid for latents `[R, C, H, W]`. Raises `UnsupportedError` if not square."""
        patch = transformer.config.patch_size
        height, width = latents.shape[-2] // patch, latents.shape[-1] // patch
        if height != width:
            raise UnsupportedError(
                f"hidden_states: {height}x{width} tokens; diffusers' DiTTransformer2DModel lays its"
                " output out as a square. Use height == width, or PixArt for rectangular images."
            )
        return Grid(height, width)

    def text_projection(self, transformer: Any) -> nn.Module | None:
        """None: no text enters."""
        return None

    def modulations(self, transformer: Any) -> Rewrite:
        """Each block's own (adaLN-Zero)."""
        return BlockModulations(transformer, self.blocks(transformer))

    def conditions(self, arguments: Mapping[str, Any]) -> list[torch.Tensor | None]:
        """The class labels `[R]`."""
        return [arguments.get("class_labels")]

    def modulated_input(
        self, block: Any, hidden_states: torch.Tensor, arguments: Mapping[str, Any]
    ) -> torch.Tensor:
        """`norm1`, by timestep and label; with exact modulations by the row of their table."""
        timestep, labels = arguments["timestep"], arguments["class_labels"]
        modulated, *_ = block.norm1(
            hidden_states, timestep, labels, hidden_dtype=hidden_states.dtype
        )
        found: torch.Tensor = modulated
        return found

    def is_guided(
        self, transformer: Any, latents: torch.Tensor, arguments: Mapping[str, Any]
    ) -> bool:
        """Equal latents and null labels in the second half."""
        labels = arguments.get("class_labels")
        if labels is None or not halves_equal(latents):
            return False
        null = transformer.config.num_embeds_ada_norm
        return bool((labels.chunk(2)[1] == null).all())


BACKBONE = DiT()
