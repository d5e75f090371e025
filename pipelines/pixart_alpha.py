"""PixArt-α: ``diffusers.PixArtAlphaPipeline`` with a plan, per-sample noise and cached texts."""

from typing import ClassVar

from diffusers import PixArtAlphaPipeline as StockPixArtAlphaPipeline
from diffusers.pipelines.pixart_alpha.pipeline_pixart_alpha import (
    ASPECT_RATIO_256_BIN,
    ASPECT_RATIO_512_BIN,
    ASPECT_RATIO_1024_BIN,
)

from dit_accel.pipelines.pixart_sampling import PixArtSampling


class PixArtAlphaPipeline(PixArtSampling, StockPixArtAlphaPipeline):
    """PixArt-α (arXiv:2310.00426): 120 text tokens, micro-conditions at 1024 px."""

    aspect_ratio_tables: ClassVar = {
        32: ASPECT_RATIO_256_BIN,
        64: ASPECT_RATIO_512_BIN,
        128: ASPECT_RATIO_1024_BIN,
    }
    default_max_sequence_length = 120
    one_step_returns_prediction = True
