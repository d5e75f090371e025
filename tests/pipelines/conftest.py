"""Tiny random pipelines: real classes, nothing downloaded."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    DiTTransformer2DModel,
    PixArtTransformer2DModel,
)
from diffusers import PixArtSigmaPipeline as StockPixArtSigmaPipeline
from diffusers.utils import dynamic_modules_utils
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from dit_accel import reference_models
from dit_accel.pipelines import PixArtSigmaPipeline

WORDS = ["<pad>", "</s>", "<unk>", "a", "cat", "dog", "moon", "rocket", "coffee", "on", "blurry"]


def tiny_vae(factor: int = 2) -> AutoencoderKL:
    """An autoencoder of latents of ``factor`` x ``factor`` pixels, a power of two."""
    torch.manual_seed(1)
    blocks = factor.bit_length()
    return AutoencoderKL(
        block_out_channels=(8,) * blocks,
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    ).eval()


def tiny_dit(out_channels: int, num_classes: int) -> DiTTransformer2DModel:
    torch.manual_seed(2)
    return DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=out_channels,
        num_layers=2,
        sample_size=8,
        num_embeds_ada_norm=num_classes,
    ).eval()


def tiny_pixart(
    out_channels: int, sample_size: int, use_additional_conditions: bool | None
) -> PixArtTransformer2DModel:
    torch.manual_seed(3)
    return PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=out_channels,
        num_layers=2,
        sample_size=sample_size,
        cross_attention_dim=24,
        caption_channels=16,
        use_additional_conditions=use_additional_conditions,
    ).eval()


def tiny_text_encoder(seed: int = 4) -> T5EncoderModel:
    torch.manual_seed(seed)
    config = T5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    return T5EncoderModel(config).eval()


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def ddim() -> DDIMScheduler:
    return DDIMScheduler(clip_sample=False)


@pytest.fixture
def make_dit() -> Callable[..., Any]:
    """Build a DiT pipeline of a class, with a scheduler."""

    def make(
        pipeline_class: type, scheduler: Any = None, out_channels: int = 8, num_classes: int = 1000
    ) -> Any:
        pipe = pipeline_class(
            transformer=tiny_dit(out_channels, num_classes),
            vae=tiny_vae(),
            scheduler=scheduler or ddim(),
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return make


@pytest.fixture
def make_pixart() -> Callable[..., Any]:
    """Build a PixArt pipeline of a class, with a scheduler."""

    def make(
        pipeline_class: type,
        scheduler: Any = None,
        out_channels: int = 8,
        sample_size: int = 8,
        use_additional_conditions: bool | None = None,
        factor: int = 2,
    ) -> Any:
        pipe = pipeline_class(
            tokenizer=tiny_tokenizer(),
            text_encoder=tiny_text_encoder(),
            vae=tiny_vae(factor),
            transformer=tiny_pixart(out_channels, sample_size, use_additional_conditions),
            scheduler=scheduler or ddim(),
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return make


def photos(pipeline_class: type) -> Any:
    """The text-to-image pipeline that ships, loaded by a class."""
    pipe = pipeline_class.from_pretrained(reference_models.find("pixart-photos"))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def stock_photos() -> Any:
    """The stock pipeline of ``pixart-photos``; do not change it."""
    return photos(StockPixArtSigmaPipeline)


@pytest.fixture(scope="module")
def shared_photos() -> Any:
    """Our pipeline of ``pixart-photos``, loaded once a file."""
    return photos(PixArtSigmaPipeline)


@pytest.fixture
def our_photos(shared_photos: Any) -> Any:
    """Our pipeline of ``pixart-photos`` with an empty cache of texts; do not change it."""
    shared_photos.text_embedding_cache.clear()
    return shared_photos


@pytest.fixture
def draw() -> Callable[..., Any]:
    """Two steps of a PixArt pipeline at its own size; arguments replace or add to these."""

    def draw(pipe: Any, prompt: str | list[str] | None = None, **arguments: Any) -> Any:
        usual = {
            "num_inference_steps": 2,
            "use_resolution_binning": False,
            "clean_caption": False,
            "max_sequence_length": 24,
            "output_type": "latent",
        }
        return pipe(prompt, **{**usual, **arguments}).images

    return draw


@pytest.fixture
def make_text_encoder() -> Callable[[int], T5EncoderModel]:
    """Build a tiny text encoder with the weights of a seed."""
    return tiny_text_encoder


@pytest.fixture
def generators() -> Callable[..., list[torch.Generator]]:
    """One generator a seed."""

    def make(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    return make


@pytest.fixture
def count_calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[int]]:
    """Count the calls of a module's method; the list it returns grows by one a call."""

    def watch(owner: Any, name: str) -> list[int]:
        calls: list[int] = []
        original = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)
        return calls

    return watch


@pytest.fixture
def load_custom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], Any]:
    """Load a folder through ``custom_pipeline=``, keeping diffusers' copies out of the home."""
    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))

    def load(folder: Any, custom_pipeline: str) -> Any:
        pipe = DiffusionPipeline.from_pretrained(
            folder, custom_pipeline=custom_pipeline, trust_remote_code=True
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return load
