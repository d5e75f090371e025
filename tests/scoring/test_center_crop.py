"""The centre crop against guided-diffusion's rule, written out once more."""

import numpy as np
import pytest
from PIL import Image

from dit_accel.scoring.center_crop import center_crop


def adm_rule(picture: Image.Image, size: int) -> np.ndarray:
    while min(*picture.size) >= 2 * size:
        picture = picture.resize(tuple(x // 2 for x in picture.size), resample=Image.Resampling.BOX)
    scale = size / min(*picture.size)
    picture = picture.resize(
        tuple(round(x * scale) for x in picture.size), resample=Image.Resampling.BICUBIC
    )
    pixels = np.array(picture)
    crop_y = (pixels.shape[0] - size) // 2
    crop_x = (pixels.shape[1] - size) // 2
    return pixels[crop_y : crop_y + size, crop_x : crop_x + size]


@pytest.mark.parametrize("shape", [(37, 90), (91, 40), (16, 16), (33, 31), (9, 14)])
def test_follows_the_rule_of_adm(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    np.testing.assert_array_equal(center_crop(picture, 16), adm_rule(picture, 16))


def test_is_the_identity_at_the_size() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(center_crop(Image.fromarray(pixels), 16), pixels)
