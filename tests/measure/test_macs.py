"""MACs against published figures and against a closed formula."""

import functools

import pytest
import torch
from torch import nn

from dit_accel.measure.architectures import load_architecture
from dit_accel.measure.inputs import forward_inputs
from dit_accel.measure.macs import count_macs, macs_of, macs_per_forward

PUBLISHED = [
    ("DiT-XL-2-256", 32, 118.6),
    ("DiT-XL-2-512", 64, 524.5),
    ("PixArt-XL-2-512", 32, 148.0),
    ("PixArt-XL-2-512", 64, 617.0),
    ("PixArt-XL-2-1024", 128, 3254.0),
]


@functools.cache
def counted(name: str, side: int, rows: int = 1) -> int:
    transformer = load_architecture(name).build("meta")
    inputs = forward_inputs(transformer, rows, (side, side), text_tokens=120)
    return macs_per_forward(transformer, inputs)


@pytest.mark.parametrize(("name", "side", "giga"), PUBLISHED)
def test_published_figures(name: str, side: int, giga: float) -> None:
    assert counted(name, side) == pytest.approx(giga * 1e9, rel=0.01)


def dit_formula(tokens: int, width: int, layers: int, patch: int, channels: tuple[int, int]) -> int:
    """Per layer: 4ND² projections and 2N²D attention, 8ND² MLP, and the adaLN modulations."""
    attention = 4 * tokens * width**2 + 2 * tokens**2 * width
    feed_forward = 8 * tokens * width**2
    timestep_embedder = 256 * width + width**2
    modulation = 6 * width**2
    patches = tokens * patch**2 * width * (channels[0] + channels[1])
    # diffusers embeds the timestep in every block, and once more before the output head.
    head = timestep_embedder + 2 * width**2
    return layers * (attention + feed_forward + timestep_embedder + modulation) + patches + head


@pytest.mark.parametrize(("name", "side"), [("DiT-XL-2-256", 32), ("DiT-XL-2-512", 64)])
def test_dit_equals_the_closed_formula(name: str, side: int) -> None:
    tokens = (side // 2) ** 2
    assert counted(name, side) == dit_formula(tokens, 1152, 28, 2, (4, 8))


def test_rows_multiply() -> None:
    assert counted("DiT-XL-2-256", 32, rows=6) == 6 * counted("DiT-XL-2-256", 32)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_fused_attention_is_counted(device: str) -> None:
    query = torch.empty(2, 4, 32, 16, device=device)
    key = torch.empty(2, 4, 8, 16, device=device)
    macs = macs_of(lambda: nn.functional.scaled_dot_product_attention(query, key, key))
    assert macs == 2 * (2 * 4 * 32 * 8 * 16)


def test_convolution_is_counted() -> None:
    convolution = nn.Conv2d(3, 5, 2, stride=2)
    assert macs_of(lambda: convolution(torch.zeros(1, 3, 8, 8))) == 4 * 4 * 5 * 3 * 2 * 2


def test_counts_by_module() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    with count_macs() as counter:
        model(torch.zeros(3, 4))
    assert (counter.module("0"), counter.module("1")) == (3 * 24, 3 * 12)
    assert counter.total == 3 * 36
