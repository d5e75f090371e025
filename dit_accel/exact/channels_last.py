"""`channels_last`: the decoder of the autoencoder with its convolutions in channels-last format.

The values of the weights stay; only their order in memory changes, and with it that of the
activations. What was changed is noted on the decoder itself, so that a copy can be put right too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_NOTE = "_dit_accel_strides"


def decoder_of(pipeline: Any) -> nn.Module | None:
    """The decoder of a pipeline's autoencoder, if it has one."""
    decoder = getattr(getattr(pipeline, "vae", None), "decoder", None)
    return decoder if isinstance(decoder, nn.Module) else None


def put_channels_last(decoder: nn.Module) -> None:
    """Reorder the convolution weights; nothing where that was done before."""
    if hasattr(decoder, _NOTE):
        return
    strides = {}
    for name, parameter in decoder.named_parameters():
        if parameter.ndim == 4 and not _is_channels_last(parameter):
            strides[name] = parameter.stride()
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    setattr(decoder, _NOTE, strides)


def restore_memory_format(decoder: nn.Module) -> None:
    """Give the weights the order back that they had; nothing where it was never changed."""
    strides: dict[str, tuple[int, ...]] = vars(decoder).pop(_NOTE, {})
    parameters = dict(decoder.named_parameters()) if strides else {}
    for name, stride in strides.items():
        parameter = parameters.get(name)
        if parameter is not None and parameter.stride() != stride:
            data = parameter.data
            ordered = torch.empty_strided(data.shape, stride, dtype=data.dtype, device=data.device)
            parameter.data = ordered.copy_(data)


def _is_channels_last(parameter: torch.Tensor) -> bool:
    # Offloaded weights are elsewhere, and come back as they were.
    return parameter.device.type == "meta" or parameter.is_contiguous(
        memory_format=torch.channels_last
    )
