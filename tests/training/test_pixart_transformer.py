"""Started from a DiT, the text-conditional transformer is that DiT without a class."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import DiTTransformer2DModel, PixArtTransformer2DModel
from tiny_models import randomise
from torch import Tensor, nn

from dit_accel.training.config import TransformerConfig
from dit_accel.training.dit_transformer import build_transformer
from dit_accel.training.pixart_transformer import build_pixart, start_from_dit

# The two classes' layer norms add 1e-5 and 1e-6 to the variance.
CLOSE = {"rtol": 1e-3, "atol": 1e-3}
LATENTS = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
TIMESTEPS = torch.tensor([0, 431, 999])


@pytest.fixture
def shape(config) -> TransformerConfig:
    return config.transformer


@pytest.fixture
def dit(shape) -> DiTTransformer2DModel:
    """A DiT with random weights everywhere, also where training starts with zeros.

    Its timesteps are embedded by the frequencies of the PixArt classes, which differ a little.
    """
    model = randomise(build_transformer(shape, 4, 8)).eval()
    model.transformer_blocks[0].norm1.emb.time_proj.downscale_freq_shift = 0
    return model


def started(shape: TransformerConfig, dit: DiTTransformer2DModel) -> PixArtTransformer2DModel:
    model = build_pixart(shape, 4, 8, caption_channels=8).eval()
    start_from_dit(model, dit)
    return model


@torch.no_grad()
def run_pixart(model: PixArtTransformer2DModel, seed: int = 0) -> Tensor:
    texts = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(seed))
    no_conditions = {"resolution": None, "aspect_ratio": None}
    return model(LATENTS, texts, TIMESTEPS, added_cond_kwargs=no_conditions).sample


@torch.no_grad()
def run_dit(model: DiTTransformer2DModel) -> Tensor:
    return model(LATENTS, TIMESTEPS, torch.full((3,), 1000)).sample


def last_hidden_states(model: nn.Module, run: object) -> Tensor:
    kept = []
    block = model.transformer_blocks[-1]
    handle = block.register_forward_hook(lambda _, __, output: kept.append(output))
    run(model)
    handle.remove()
    return kept[0]


def test_with_equal_modulations_its_blocks_compute_what_those_of_the_dit_do(shape, dit):
    first = dit.transformer_blocks[0].norm1.linear
    for block in dit.transformer_blocks[1:]:
        block.norm1.linear.load_state_dict(first.state_dict())
    ours, theirs = (
        last_hidden_states(started(shape, dit), run_pixart),
        last_hidden_states(dit, run_dit),
    )
    torch.testing.assert_close(ours, theirs, **CLOSE)
    assert theirs.std() > 0.1 and not torch.allclose(theirs[0], theirs[1], atol=0.1)


def test_where_the_timestep_changes_nothing_any_dit_is_reproduced_whole(shape, dit):
    """Tables can then say all that differs from block to block."""
    for block in dit.transformer_blocks:
        nn.init.zeros_(block.norm1.emb.timestep_embedder.linear_2.weight)
    ours, theirs = run_pixart(started(shape, dit)), run_dit(dit)
    torch.testing.assert_close(ours, theirs, **CLOSE)
    assert theirs.std() > 0.1


def test_it_never_heard_of_the_classes(shape, dit):
    other = copy.deepcopy(dit)
    with torch.no_grad():
        for block in other.transformer_blocks:
            block.norm1.emb.class_embedder.embedding_table.weight[:1000] += 1
    assert torch.equal(run_pixart(started(shape, dit)), run_pixart(started(shape, other)))


def test_texts_say_nothing_before_training_and_something_after_a_change(shape, dit):
    model = started(shape, dit)
    assert torch.equal(run_pixart(model, seed=0), run_pixart(model, seed=1))
    for block in model.transformer_blocks:
        nn.init.normal_(block.attn2.to_out[0].weight)
    assert not torch.equal(run_pixart(model, seed=0), run_pixart(model, seed=1))
