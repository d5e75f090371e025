"""The pixels of one PixArt call: what is asked for, and what is generated."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from dit_accel.pipelines.pixart_bins import AspectRatioTables, aspect_ratio_bins


@dataclass(frozen=True)
class PixArtSize:
    """Pixels to generate at and pixels to return; they differ under resolution binning."""

    height: int
    width: int
    output_height: int
    output_width: int

    @classmethod
    def resolve(
        cls, pipe: Any, height: int | None, width: int | None, tables: AspectRatioTables | None
    ) -> "PixArtSize":
        """Fill in the transformer's own size and go to the nearest bin.

        Args:
            pipe: a PixArt pipeline.
            height: pixels asked for; None for ``sample_size``.
            width: pixels asked for; None for ``sample_size``.
            tables: stock's tables of sizes by aspect ratio, which ``aspect_ratio_bins`` fits to
                this pipeline; None for no binning.

        Raises:
            ValueError: when a side is not positive, or the size to generate at does not divide
                into latent patches.
        """
        config, factor = pipe.transformer.config, pipe.vae_scale_factor
        native = config.sample_size * factor
        output = (native if height is None else height, native if width is None else width)
        if min(output) < 1:
            raise ValueError(
                f"`height` and `width` must be positive, got {output[0]} and {output[1]}."
            )
        generated = output
        if tables is not None:
            bins = aspect_ratio_bins(tables, config.sample_size, factor, config.patch_size)
            generated = pipe.image_processor.classify_height_width_bin(*output, ratios=bins)
        multiple = factor * config.patch_size
        if any(side % multiple for side in generated):
            raise ValueError(
                f"`height` and `width` must be multiples of {multiple} (autoencoder factor "
                f"{factor} x patch size), got {generated[0]} and {generated[1]}."
            )
        return cls(*generated, *output)

    def micro_conditions(
        self, transformer: Any, embeds: torch.Tensor
    ) -> dict[str, torch.Tensor | None]:
        """Size ``[R, 2]`` and aspect ratio ``[R, 1]`` for each of R rows of ``embeds``.

        None of both where the transformer does not ask for them.
        """
        if not transformer.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        resolution = torch.tensor([[self.height, self.width]])
        aspect_ratio = torch.tensor([[float(self.height / self.width)]])
        return {
            "resolution": resolution.to(embeds).repeat(len(embeds), 1),
            "aspect_ratio": aspect_ratio.to(embeds).repeat(len(embeds), 1),
        }

    def fit(self, images: torch.Tensor) -> torch.Tensor:
        """Resize ``[B, C, height, width]`` to cover the output size, and crop the middle.

        Stock's ``resize_and_crop_tensor``, but for an error of rounding that leaves stock's picture
        one pixel too narrow to crop (1 pixel of 104 remains at 48 x 104).
        """
        output = (self.output_height, self.output_width)
        if (self.height, self.width) == output:
            return images
        ratio = max(self.output_height / self.height, self.output_width / self.width)
        # 184 * (104 / 184) is a little less than 104.
        covering = (
            max(self.output_height, int(self.height * ratio)),
            max(self.output_width, int(self.width * ratio)),
        )
        images = F.interpolate(images, size=covering, mode="bilinear", align_corners=False)
        top, left = ((side - kept) // 2 for side, kept in zip(covering, output, strict=True))
        return images[:, :, top : top + output[0], left : left + output[1]]
