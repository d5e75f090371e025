"""The decoder's memory format: changed for the plan, as before afterwards, values untouched."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from exact_runs import TOLERANCE, distance

import dit_accel


@pytest.fixture
def pipe(dit: Any) -> Any:
    pipe = dit.pipeline()
    pipe.vae = AutoencoderKL(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    return pipe


def formats(vae: Any) -> list[tuple[int, ...]]:
    return [parameter.stride() for parameter in vae.parameters()]


def test_convolutions_of_the_decoder_alone(pipe: Any) -> None:
    vae, latents = pipe.vae, torch.randn(2, 4, 8, 8)
    before, state = formats(vae), {k: v.clone() for k, v in vae.state_dict().items()}
    parameters = list(map(id, vae.parameters()))
    with torch.no_grad():
        stock = vae.decode(latents).sample
        dit_accel.accelerate(pipe, {"exact": True})
        weight, encoder = vae.decoder.conv_in.weight, vae.encoder.conv_out.weight
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert encoder.is_contiguous()
        assert distance(stock, vae.decode(latents).sample) <= TOLERANCE
    assert all(torch.equal(value, state[key]) for key, value in vae.state_dict().items())
    dit_accel.restore(pipe)
    assert formats(vae) == before and list(map(id, vae.parameters())) == parameters
    assert torch.equal(vae.decode(latents).sample, stock)


def test_a_decoder_that_was_so_before_stays_so(pipe: Any) -> None:
    pipe.vae.to(memory_format=torch.channels_last)
    before = formats(pipe.vae)
    with dit_accel.accelerated(pipe, "exact"):
        assert formats(pipe.vae) == before
    assert formats(pipe.vae) == before


def test_an_autoencoder_of_two_pipelines_and_a_copy(pipe: Any, dit: Any) -> None:
    before, other = formats(pipe.vae), dit.pipeline()
    other.vae = pipe.vae
    dit_accel.accelerate(dit_accel.accelerate(pipe, "exact"), "exact")
    dit_accel.accelerate(other, "exact")
    copied = copy.deepcopy(pipe)
    for owner in (pipe, other, copied):
        dit_accel.restore(owner)
        assert formats(owner.vae) == before
    assert not any(name.startswith("_dit_accel") for name in vars(pipe.vae.decoder))


def test_off_and_absent(pipe: Any) -> None:
    before = formats(pipe.vae)
    dit_accel.accelerate(pipe, {"exact": {"channels_last": False}})
    assert formats(pipe.vae) == before
    dit_accel.accelerate(pipe.transformer, "exact")
