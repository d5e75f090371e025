"""PSNR and SSIM against scikit-image's own."""

import numpy as np
import pytest
import torch

from dit_accel.measure.fidelity import fidelity


def pictures(noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    base = torch.rand(3, 3, 64, 64)
    smooth = torch.nn.functional.avg_pool2d(base, 5, 1, 2)
    return (smooth + noise * torch.randn_like(smooth)).clamp(0, 1), smooth


def test_matches_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    images, reference = pictures(0.05)
    found = fidelity(images, reference)
    pairs = [(a.numpy(), b.numpy()) for a, b in zip(images, reference, strict=True)]
    psnr = [metrics.peak_signal_noise_ratio(b, a, data_range=1.0) for a, b in pairs]
    ssim = [
        metrics.structural_similarity(
            b,
            a,
            data_range=1.0,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )[1].mean()
        for a, b in pairs
    ]
    assert found.psnr_db == pytest.approx(np.mean(psnr), abs=1e-3)
    assert found.ssim == pytest.approx(np.mean(ssim), rel=0.01)  # they mirror borders differently


def test_mean_is_over_images_not_over_pixels() -> None:
    reference = torch.zeros(2, 3, 16, 16)
    images = torch.stack([torch.full((3, 16, 16), 0.1), torch.full((3, 16, 16), 0.01)])
    assert fidelity(images, reference).psnr_db == pytest.approx((20 + 40) / 2, abs=1e-3)


def test_identical_sets() -> None:
    images, _ = pictures(0.0)
    found = fidelity(images, images.clone())
    assert (found.psnr_db, found.ssim) == (float("inf"), 1.0)
    assert found.to_dict() == {"psnr_db": None, "ssim": 1.0}


def test_other_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        fidelity(torch.zeros(1, 3, 16, 16), torch.zeros(2, 3, 16, 16))
