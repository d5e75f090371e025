"""Recipes small enough to run whole within seconds, and their runs shared by the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from dit_accel.training.config import ClassRecipe, TextRecipe
from dit_accel.training.stages import StageName, run_stage

LOOP = {
    "steps": 4,
    "learning_rate": 1e-2,
    "warmup_steps": 1,
    "decay_steps": 1,
    "log_every": 1,
    "checkpoint_every": 1,
    "preview_every": 4,
}


def tiny_recipe(folder: Path) -> dict[str, Any]:
    """The contents of a recipe whose every stage takes about a second."""
    return {
        "seed": 7,
        "output": str(folder / "run"),
        "mixed_precision": "bf16",
        "data": {"crop_size": 32, "scale": [0.6, 1.0], "held_out_per_class": 1},
        "autoencoder": {
            "block_out_channels": [8, 8, 8],
            "latent_channels": 4,
            "norm_num_groups": 4,
            "window": 0.5,
            "batch_size": 2,
            "whole_crop_steps": 2,
            "whole_crop_batch_size": 2,
            "kl_weight": 1e-4,
            "loop": LOOP,
        },
        "latents": {"crops": 30, "batch_size": 8},
        "transformer": {
            "num_layers": 2,
            "num_attention_heads": 1,
            "attention_head_dim": 16,
            "patch_size": 2,
            "batch_size": 4,
            "condition_dropout": 0.1,
            "ema_decay": 0.9,
            "ema_power": 0.75,
            "loop": {**LOOP, "muon_ratio": 3.0},
        },
        "classifier": {"channels": [8, 16], "batch_size": 15, "loop": LOOP},
        "publish": {
            "folder": str(folder / "published"),
            "dtype": "float16",
            "guidance_scales": [1.0, 4.0],
            "samples_per_class": 1,
            "sampling_steps": 2,
        },
    }


def tiny_text_recipe(folder: Path, start_from: Path) -> dict[str, Any]:
    """The contents of a text recipe that starts from the published folder of the tiny recipe."""
    common = tiny_recipe(folder)
    for name in ("autoencoder", "classifier"):
        del common[name]
    return {
        **common,
        "start_from": str(start_from),
        "data": {"crop_size": 32, "scale": [0.6, 1.0]},
        "text_encoder": {
            "d_model": 8,
            "d_kv": 4,
            "d_ff": 8,
            "num_layers": 1,
            "num_heads": 2,
            "max_tokens": 24,
            "batch_size": 8,
            "loop": LOOP,
        },
        # Untrained as they are, its samples follow nothing.
        "publish": {
            **common["publish"],
            "min_photograph_accuracy": 0.0,
            "min_part_accuracy": 0.0,
        },
    }


# For the session, since the recipe's stages are run once for the session too.
@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tiny tensors: more threads only cost, and would make the sums depend on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    """The contents of a tiny recipe that a test may change."""
    return tiny_recipe(tmp_path)


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> ClassRecipe:
    """The tiny recipe, validated."""
    return ClassRecipe(**tiny_recipe(tmp_path_factory.mktemp("training")))


@pytest.fixture(scope="session")
def finished(config: ClassRecipe) -> ClassRecipe:
    """The tiny recipe after every stage has run."""
    run_stage(StageName.ALL, config)
    return config


@pytest.fixture
def text_recipe(tmp_path: Path, finished: ClassRecipe) -> dict[str, Any]:
    """The contents of a tiny text recipe that a test may change."""
    return tiny_text_recipe(tmp_path, finished.publish.folder)


@pytest.fixture(scope="session")
def finished_text(finished: ClassRecipe, tmp_path_factory: pytest.TempPathFactory) -> TextRecipe:
    """A tiny text recipe after every stage has run."""
    folder = tmp_path_factory.mktemp("text")
    config = TextRecipe(**tiny_text_recipe(folder, finished.publish.folder))
    run_stage(StageName.ALL, config)
    return config


@pytest.fixture
def accelerator() -> Accelerator:
    """Of the recipe's precision."""
    return Accelerator(mixed_precision="bf16")
