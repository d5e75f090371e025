"""PixArt-Σ: ``diffusers.PixArtSigmaPipeline`` with a plan, per-sample noise and cached texts."""

from typing import ClassVar

from diffusers import PixArtSigmaPipeline as StockPixArtSigmaPipeline
from diffusers.pipelines.pixart_alpha.pipeline_pixart_sigma import (
    ASPECT_RATIO_256_BIN,
    ASPECT_RATIO_512_BIN,
    ASPECT_RATIO_1024_BIN,
    ASPECT_RATIO_2048_BIN,
)

from dit_accel.pipelines.pixart_sampling import PixArtSampling


class PixArtSigmaPipeline(PixArtSampling, StockPixArtSigmaPipeline):
    """PixArt-Σ (arXiv:2403.04692): 300 text tokens, up to 2048 px."""

    aspect_ratio_tables: ClassVar = {
        32: ASPECT_RATIO_256_BIN,
        64: ASPECT_RATIO_512_BIN,
        128: ASPECT_RATIO_1024_BIN,
        256: ASPECT_RATIO_2048_BIN,
    }
    default_max_sequence_length = 300
    one_step_returns_prediction = False
