"""Text keys and values: computed once a run for each distinct text, never another prompt's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from exact_runs import TOLERANCE, distance, rows_through
from tiny_models import NUM_LAYERS, TEXT_LENGTH, noise

import dit_accel
from dit_accel.exact.text_keys_values import TextKeysValues

STEPS = 6


def counted(transformer: Any) -> list[list[int]]:
    attentions = [block.attn2 for block in transformer.transformer_blocks]
    projections = [p for a in attentions for p in (a.to_k, a.to_v)]
    return [rows_through(module) for module in (transformer.caption_projection, *projections)]


@pytest.mark.parametrize("guidance", ["batched", "separate"])
def test_once_a_run_for_each_distinct_text(pixart: Any, guidance: str) -> None:
    transformer = pixart.transformer()
    rows = counted(transformer)
    dit_accel.accelerate(transformer, {"exact": True})
    for samples in ((1, 2, 3), (2, 2)):
        with dit_accel.run(transformer, STEPS, calls_per_step=1 + (guidance == "separate")):
            pixart.denoise(transformer, samples, STEPS, guidance)
    texts = [4, 2] if guidance == "batched" else [3, 1, 1, 1]
    assert rows == [texts] * (2 * NUM_LAYERS + 1)


def test_what_is_kept_is_counted(pixart: Any) -> None:
    only = {name: False for name in ("modulations", "fused_projections", "channels_last")}
    pipe = dit_accel.accelerate(pixart.pipeline(), {"exact": only})
    pixart.generate(pipe, samples=(1, 2))
    summary = dit_accel.summary(pipe)
    assert summary.exact_bytes == 3 * TEXT_LENGTH * 36 * (2 * NUM_LAYERS + 1) * 4
    assert summary.exact == ("text_keys_values", "guidance_rows")
    assert "text_keys_values, guidance_rows; " in str(summary)


def test_another_prompt_in_the_same_place(pixart: Any) -> None:
    """The next call's text may lie where the last one's did, in the same shape."""
    transformer, fast = pixart.transformer(), pixart.transformer()
    dit_accel.accelerate(fast, {"exact": True})
    latents = noise((1, 2), (8, 8), torch.float32).repeat(2, 1, 1, 1)
    condition = pixart.guided_condition((1, 2), torch.float32)
    buffer = condition["encoder_hidden_states"]
    with torch.no_grad(), dit_accel.run(fast, 8):
        for step in range(8):
            if step % 2:
                buffer.copy_(torch.randn(buffer.shape))
            condition["encoder_hidden_states"] = buffer[:] if step < 4 else buffer.clone()
            expected = pixart.predict(transformer, latents, 500, condition)
            assert distance(expected, pixart.predict(fast, latents, 500, condition)) <= TOLERANCE


def test_beyond_the_budget_blocks_project_by_themselves(
    pixart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_a_block = 2 * 4 * TEXT_LENGTH * 36 * 4
    monkeypatch.setattr(TextKeysValues.__init__, "__defaults__", (3 * of_a_block // 2,))
    transformer = pixart.transformer()
    stock = pixart.denoise(pixart.transformer(), (1, 2, 3), STEPS)
    rows = counted(transformer)
    dit_accel.accelerate(transformer, {"exact": True})
    with dit_accel.run(transformer, STEPS):
        assert distance(stock, pixart.denoise(transformer, (1, 2, 3), STEPS)) <= TOLERANCE
    assert rows == [*[[4]] * 3, *[[6] * STEPS] * (2 * NUM_LAYERS - 2)]


class Louder(AttnProcessor2_0):
    """A processor that does something of its own with the text."""

    def __call__(self, attn: Any, hidden: Any, encoder_hidden_states: Any = None, **kw: Any) -> Any:
        text = None if encoder_hidden_states is None else 2 * encoder_hidden_states
        return super().__call__(attn, hidden, text, **kw)


@pytest.mark.parametrize("processor", [AttnProcessor, Louder])
def test_processors(pixart: Any, processor: Any) -> None:
    transformer = pixart.transformer()
    for block in transformer.transformer_blocks[1:3]:
        block.attn2.set_processor(processor())
    stock = pixart.denoise(transformer)
    dit_accel.accelerate(transformer, {"exact": True})
    assert distance(stock, pixart.denoise(transformer)) <= TOLERANCE
    transformer.transformer_blocks[0].attn2.set_processor(Louder())
    later = pixart.denoise(transformer)
    dit_accel.restore(transformer)
    assert distance(pixart.denoise(transformer), later) <= TOLERANCE


@pytest.mark.parametrize("order", ["before", "after"])
def test_projections_that_diffusers_fuses(pixart: Any, order: str) -> None:
    transformer = pixart.transformer()
    stock = pixart.denoise(transformer)
    if order == "before":
        transformer.fuse_qkv_projections()
    dit_accel.accelerate(transformer, {"exact": True})
    if order == "after":
        transformer.fuse_qkv_projections()
    assert distance(stock, pixart.denoise(transformer)) <= TOLERANCE


def test_a_model_without_a_caption_projection() -> None:
    from diffusers import PixArtTransformer2DModel
    from tiny_models import randomise

    config = {"num_attention_heads": 2, "attention_head_dim": 16, "cross_attention_dim": 32}
    model = PixArtTransformer2DModel(
        **config, in_channels=4, num_layers=2, sample_size=8, patch_size=1
    )
    randomise(model.eval())
    arguments = {
        "encoder_hidden_states": torch.randn(2, 5, 32),
        "timestep": torch.tensor([500, 500]),
        "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
    }
    latents = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        stock = model(latents, **arguments).sample
        dit_accel.accelerate(model, {"exact": True})
        assert distance(stock, model(latents, **arguments).sample) <= TOLERANCE
