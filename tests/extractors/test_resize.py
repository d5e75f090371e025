"""Resizes are those of the published scores, to the byte where the original is deterministic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dit_accel.extractors.resize import clean_resize, pil_resize, short_side_resize, tf_resize

# 256 -> 299 makes larger, 512 -> 299 smaller; the last has sides of its own.
SIZES = ((256, 256), (512, 512), (96, 140))


def pictures(height: int, width: int) -> Tensor:
    """Half noise, half a checkerboard, whose overshoot leaves the range of bytes."""
    noise = torch.randint(0, 256, (1, 3, height, width))
    board = 255 * ((torch.arange(height)[:, None] // 3 + torch.arange(width) // 3) % 2)
    return torch.cat([noise, board.expand(1, 3, -1, -1)]).to(torch.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_the_tensorflow_resize_is_torch_fidelitys(size: tuple[int, int]) -> None:
    theirs = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    images = pictures(*size)
    expected = theirs.interpolate_bilinear_2d_like_tensorflow1x(
        images.float(), size=(299, 299), align_corners=False
    )
    torch.testing.assert_close(tf_resize(images, 299), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_the_clean_resize_is_clean_fids_to_the_byte(size: tuple[int, int]) -> None:
    resizer = pytest.importorskip("cleanfid.resize").build_resizer("clean")
    images = pictures(*size)
    resized = clean_resize(images, 299)
    for image, ours in zip(images, resized, strict=True):
        expected = resizer(image.permute(1, 2, 0).numpy())
        assert ours.permute(1, 2, 0).numpy().tobytes() == expected.tobytes()
    assert resized.dtype == torch.float32
    assert float(resized.min()) >= 0 and float(resized.max()) <= 255
    assert not torch.equal(resized, resized.round()), "clean-fid does not go back to bytes"


def test_the_tensorflow_resize_reads_positions_without_half_a_pixel() -> None:
    """Halving takes every other pixel; doubling puts means between pixels and repeats the last."""
    row = torch.tensor([10.0, 20.0, 40.0, 80.0]).expand(1, 1, 4, 4)
    assert tf_resize(row, 2)[0, 0, 0].tolist() == [10, 40]
    assert tf_resize(row, 8)[0, 0, 0].tolist() == [10, 15, 20, 30, 40, 60, 80, 80]


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 40), st.integers(4, 40), st.integers(4, 40), st.integers(0, 255))
def test_one_colour_stays_itself_at_any_size(h: int, w: int, size: int, value: int) -> None:
    images = torch.full((2, 3, h, w), value, dtype=torch.uint8)
    expected = torch.full((2, 3, size, size), float(value))
    torch.testing.assert_close(tf_resize(images, size), expected)
    torch.testing.assert_close(clean_resize(images, size), expected, rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(pil_resize(images, size, size).float(), expected)


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    images = pictures(32, 32)
    for resized in (tf_resize(images, 32), clean_resize(images, 32), pil_resize(images, 32, 32)):
        torch.testing.assert_close(resized.float(), images.float())


@pytest.mark.parametrize("size", [(60, 90), (91, 60), (64, 64)])
def test_the_short_side_resize_is_clips(size: tuple[int, int]) -> None:
    module = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    processor = module.CLIPImageProcessorPil(
        size={"shortest_edge": 48}, crop_size=48, do_rescale=False, do_normalize=False
    )
    images = pictures(*size)
    expected = [processor(np.asarray(i.permute(1, 2, 0)))["pixel_values"][0] for i in images]
    resized = short_side_resize(images, 48)
    assert resized.dtype == torch.uint8
    np.testing.assert_array_equal(resized.numpy(), np.stack(expected).astype(np.uint8))
