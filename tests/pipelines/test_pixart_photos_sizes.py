"""Resolution binning on the trained text-to-image pipeline: 128 pixels, autoencoder of factor 4."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from dit_accel.backbones import find_backbone
from dit_accel.presets import preset_names
from dit_accel.tokens.grid import Grid

PROMPT = "a photograph of a cat"


@pytest.fixture
def latent_sizes(our_photos: Any) -> Iterator[list[tuple[int, ...]]]:
    """Height and width of the latents of each transformer call."""
    sizes: list[tuple[int, ...]] = []
    handle = our_photos.transformer.register_forward_pre_hook(
        lambda module, args: sizes.append(tuple(args[0].shape[-2:]))
    )
    yield sizes
    handle.remove()


def test_its_own_size_needs_no_binning(our_photos: Any, draw: Any, generators: Any) -> None:
    """Stock would draw 256 pixels here, the smallest size it knows."""
    pictures = [
        draw(
            our_photos, PROMPT, generator=generators(0), use_resolution_binning=on, output_type="np"
        )
        for on in (False, True)
    ]
    assert pictures[0].shape == (1, 128, 128, 3)
    assert np.array_equal(*pictures)


@pytest.mark.parametrize(
    ("height", "width", "latents"),
    [
        (160, 96, (40, 24)),  # a bin itself
        (100, 60, (40, 24)),
        (100, 100, (32, 32)),
        (512, 384, (36, 28)),
        (40, 160, (16, 64)),
        (136, 120, (34, 30)),
    ],
)
def test_a_request_is_drawn_at_the_nearest_bin(
    our_photos: Any,
    latent_sizes: list[tuple[int, ...]],
    draw: Any,
    height: int,
    width: int,
    latents: tuple[int, int],
) -> None:
    arguments = {"num_inference_steps": 1, "guidance_scale": 1.0, "output_type": "np"}
    pictures = draw(
        our_photos, PROMPT, height=height, width=width, use_resolution_binning=True, **arguments
    )
    assert latent_sizes == [latents]
    assert pictures.shape == (1, height, width, 3)
    assert np.isfinite(pictures).all()


def test_a_rectangle_equals_the_stock_picture_of_that_size(
    stock_photos: Any, our_photos: Any, draw: Any, generators: Any
) -> None:
    """A bin of 17 x 15 tokens: stock draws it where it does not bin."""
    arguments = {"height": 136, "width": 120, "output_type": "np"}
    pictures = [
        draw(pipe, PROMPT, generator=generators(0), use_resolution_binning=binned, **arguments)
        for pipe, binned in [(stock_photos, False), (our_photos, True)]
    ]
    assert pictures[0].shape == (1, 136, 120, 3)
    assert np.array_equal(*pictures)


@pytest.mark.parametrize("plan", preset_names())
def test_every_shipped_plan_draws_a_rectangle(
    our_photos: Any, latent_sizes: list[tuple[int, ...]], draw: Any, generators: Any, plan: str
) -> None:
    """17 x 15 tokens, which nothing that pools or merges divides evenly."""
    latents = draw(
        our_photos,
        PROMPT,
        plan=plan,
        height=136,
        width=120,
        guidance_scale=1.0,
        num_inference_steps=4,
        use_resolution_binning=True,
        generator=generators(0),
    )
    assert latent_sizes[0] == (34, 30)
    assert latents.shape == (1, 4, 34, 30)
    assert latents.isfinite().all()


def test_a_rectangle_has_its_grid(our_photos: Any) -> None:
    backbone = find_backbone(our_photos.transformer)
    assert backbone.grid(our_photos.transformer, torch.zeros(2, 4, 34, 30)) == Grid(17, 15)


def test_latents_have_the_shape_of_the_bin(our_photos: Any, draw: Any) -> None:
    arguments = {"height": 100, "width": 60, "use_resolution_binning": True}
    latents = torch.randn(1, 4, 40, 24, generator=torch.Generator().manual_seed(0))
    assert draw(our_photos, PROMPT, latents=latents, **arguments).shape == latents.shape
    with pytest.raises(ValueError, match=r"expected \[1, 4, 40, 24\]"):
        draw(our_photos, PROMPT, latents=latents[..., :15], **arguments)
