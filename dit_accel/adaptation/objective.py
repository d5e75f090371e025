"""The losses of an adaptation, and the weights of the timesteps in them.

Min-SNR-gamma (Hang et al., arXiv 2303.09556, section 3): with the signal-to-noise ratio
`SNR_t = alphas_cumprod_t / (1 - alphas_cumprod_t)`, the squared error of the predicted clean
latents has the weight `min(SNR_t, gamma)`. Written for the error of what the model predicts, this
is `min(SNR_t, gamma)` (sample), `/ SNR_t` (epsilon) or `/ (SNR_t + 1)` (v_prediction).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# Of the error of a learned variance: few solvers read it, and it is small in numbers. It must not
# drift away, and that is all.
_VARIANCE_WEIGHT = 0.05
# Of a feature channel, in units of the channels' mean deviation.
_LEAST_DEVIATION = 0.01


def min_snr_weights(
    alphas_cumprod: Tensor, timesteps: Tensor, prediction_type: str, gamma: float
) -> Tensor:
    """Weights `[B]` of the squared errors at `timesteps` `[B]` (integers).

    Args:
        alphas_cumprod: of the noise schedule, `[T]`.
        timesteps: of the samples.
        prediction_type: `epsilon`, `v_prediction` or `sample`.
        gamma: the signal-to-noise ratio above which a timestep counts no more.
    """
    alphas = alphas_cumprod.double()[timesteps]
    ratio = alphas / (1 - alphas)
    capped = ratio.clamp(max=gamma)
    if prediction_type == "epsilon":
        # Where nothing but noise is left, min(SNR, gamma) / SNR is 1.
        return torch.where(ratio > 0, capped / ratio, torch.ones_like(ratio)).float()
    if prediction_type == "v_prediction":
        return (capped / (ratio + 1)).float()
    return capped.float()


def output_error(found: Tensor, wanted: Tensor, channels: int) -> Tensor:
    """Mean squared difference of each sample, `[B]`, in float32.

    Args:
        found: `[B, Co, h, w]`.
        wanted: the same, or `[B, channels, h, w]`, if nothing is wanted of the variance.
        channels: of the prediction; whatever comes after these is a learned variance.
    """
    found, wanted = found.float(), wanted.float()
    error = (found[:, :channels] - wanted[:, :channels]).square().flatten(1).mean(1)
    if wanted.shape[1] == channels:
        return error
    variance = (found[:, channels:] - wanted[:, channels:]).square().flatten(1).mean(1)
    return error + _VARIANCE_WEIGHT * variance


def feature_error(found: Mapping[int, Tensor], wanted: Mapping[int, Tensor]) -> Tensor:
    """Mean over the layers of the squared difference, in units of the teacher's deviation.

    Args:
        found: the student's hidden states `[B, N, C]` after each block, by layer.
        wanted: the teacher's.

    Layers in which the student has other tokens than the teacher (inside a segment on a coarser
    grid) are left out; the others count alike, however large their numbers are.
    """
    errors = [
        _relative(tokens, wanted[layer])
        for layer, tokens in found.items()
        if tokens.shape == wanted[layer].shape
    ]
    return torch.stack(errors).mean() if errors else torch.zeros(())


def _relative(found: Tensor, wanted: Tensor) -> Tensor:
    found, wanted = found.float(), wanted.float()
    deviation = wanted.flatten(0, 1).std(0, correction=0)
    # A channel that hardly varies would outweigh all others by its rounding.
    deviation = torch.maximum(deviation, _LEAST_DEVIATION * deviation.mean()).clamp_min(1e-6)
    return ((found - wanted) / deviation).square().mean()
