"""Extraction goes in order, in float32, without gradients, whatever the caller switched on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dit_accel.errors import DitAccelError
from dit_accel.extractors import Extractor, extract, extractor_record
from dit_accel.extractors.extractor import exact_inference


class Mean:
    """The mean colour, times a parameter."""

    name, version, dim, resize, weights_sha256 = "mean", "1", 3, "none", "0" * 64

    def __init__(self) -> None:
        self.weight = torch.eye(3, requires_grad=True)

    @exact_inference()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        features = images.float().mean(dim=(2, 3)) @ self.weight
        return {"features": features, "twice": 2 * features}


def test_it_is_an_extractor() -> None:
    assert isinstance(Mean(), Extractor)
    assert extractor_record(Mean()) == {
        "name": "mean",
        "version": "1",
        "sha256": "0" * 64,
        "resize": "none",
    }


def test_features_come_in_the_order_of_the_pictures() -> None:
    images = torch.randint(0, 256, (10, 3, 4, 4), dtype=torch.uint8)
    arrays = extract(Mean(), iter(images.split([1, 4, 3, 2])))
    assert {name: array.dtype for name, array in arrays.items()} == {
        "features": np.float32,
        "twice": np.float32,
    }
    np.testing.assert_allclose(arrays["features"], images.float().mean(dim=(2, 3)), rtol=1e-6)
    np.testing.assert_array_equal(arrays["twice"], 2 * arrays["features"])


def test_autocast_and_gradients_of_the_caller_do_not_reach_it() -> None:
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.enable_grad():
        features = Mean()(images)["features"]
    assert features.dtype == torch.float32
    assert not features.requires_grad


def test_the_callers_precision_is_put_back_even_after_an_error() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        with pytest.raises(KeyError), exact_inference():
            assert not matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
            raise KeyError
        assert matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    finally:
        matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_no_pictures_are_an_error() -> None:
    with pytest.raises(DitAccelError, match="images: got none"):
        extract(Mean(), [])
