"""The pixels of one PixArt call: what is asked for, and what is generated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

AspectRatioBins = Mapping[int, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class PixArtSize:
    """Pixels to generate at and pixels to return; they differ under resolution binning."""

    height: int
    width: int
    output_height: int
    output_width: int
    binned: bool

    @classmethod
    def resolve(
        cls, pipe: Any, height: int | None, width: int | None, bins: AspectRatioBins | None
    ) -> "PixArtSize":
        """Fill in the transformer's own size and go to the nearest bin.

        Args:
            pipe: a PixArt pipeline.
            height: pixels asked for; None for ``sample_size``.
            width: pixels asked for; None for ``sample_size``.
            bins: for each ``sample_size``, height and width by aspect ratio; None for no binning.

        Raises:
            ValueError: when there are no bins for the transformer's ``sample_size``, or the size
                does not divide into latent patches.
        """
        sample_size, factor = pipe.transformer.config.sample_size, pipe.vae_scale_factor
        output = (height or sample_size * factor, width or sample_size * factor)
        generated = output
        if bins is not None:
            if sample_size not in bins:
                raise ValueError(
                    f"There are no resolution bins for sample_size {sample_size}, only for "
                    f"{sorted(bins)}: pass use_resolution_binning=False."
                )
            generated = pipe.image_processor.classify_height_width_bin(
                *output, ratios=dict(bins[sample_size])
            )
        multiple = factor * pipe.transformer.config.patch_size
        if any(side < 1 or side % multiple for side in generated):
            raise ValueError(
                f"`height` and `width` must be positive multiples of {multiple} (autoencoder "
                f"factor {factor} x patch size), got {generated[0]} and {generated[1]}."
            )
        return cls(*generated, *output, binned=bins is not None)
