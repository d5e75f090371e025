"""The published folder works in stock diffusers; the shipped one is also good enough."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DiTPipeline

from dit_accel.training.class_conditioning import sample
from dit_accel.training.classifier import accuracy, load_classifier
from dit_accel.training.photos import PHOTOS

SHIPPED = Path(__file__).parents[2] / "dit_accel" / "reference_models" / "dit-photos"
PROBE = """
import json, sys, torch
from diffusers import DDIMScheduler, DiTPipeline, UniPCMultistepScheduler
labels = []
for folder in sys.argv[1:]:
    pipe = DiTPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    for kind, steps in ((DDIMScheduler, 2), (UniPCMultistepScheduler, 3)):
        pipe.scheduler = kind.from_config(pipe.scheduler.config)
        images = pipe(
            pipe.get_label_ids(["astronaut", "coffee"]),
            guidance_scale=2.5,
            num_inference_steps=steps,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        ).images
        assert images.shape[0] == 2 and images.shape[3] == 3
    labels.append(pipe.labels)
assert not any(name.split(".")[0] == "dit_accel" for name in sys.modules)
print(json.dumps(labels))
"""


def test_published_and_shipped_folders_run_in_stock_diffusers(finished, tmp_path):
    folders = [finished.publish.folder, *([SHIPPED] if SHIPPED.exists() else [])]
    command = [sys.executable, "-c", PROBE, *map(str, folders)]
    # In a folder from which our package cannot even be found by accident.
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    labels = {photo.label: index for index, photo in enumerate(PHOTOS)}
    assert json.loads(done.stdout.splitlines()[-1]) == [labels] * len(folders)


def test_published_folder_replaces_the_old_one_whole(finished):
    folder = finished.publish.folder
    assert not folder.with_name(folder.name + ".partial").exists()
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "classifier",
        "model_index.json",
        "samples.png",
        "scheduler",
        "transformer",
        "vae",
    }


def test_card_names_every_photograph_and_licence(finished):
    card = (finished.publish.folder / "README.md").read_text()
    for photo in PHOTOS:
        assert f"`{photo.label}`" in card
        assert photo.licence in card


@pytest.fixture(scope="module")
def shipped() -> Path:
    if not SHIPPED.exists():
        pytest.skip(f"{SHIPPED} is not in this checkout: train it with scripts/train_reference.py")
    return SHIPPED


def test_shipped_weights_are_small(shipped):
    assert sum(path.stat().st_size for path in shipped.rglob("*.safetensors")) <= 40e6


def test_shipped_transformer_is_the_reference_architecture(shipped):
    config = json.loads((shipped / "transformer" / "config.json").read_text())
    wanted = {
        "num_layers": 10,
        "num_attention_heads": 3,
        "attention_head_dim": 64,
        "patch_size": 2,
        "sample_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "num_embeds_ada_norm": 1000,
    }
    assert wanted.items() <= config.items()


def test_shipped_samples_are_recognised_by_the_shipped_classifier(shipped):
    labels = list(range(0, len(PHOTOS), 2))
    pipeline = DiTPipeline.from_pretrained(shipped)
    pictures = sample(pipeline, labels, 2.5, 12, torch.Generator().manual_seed(0))
    classifier = load_classifier(shipped / "classifier" / "model.safetensors")
    assert accuracy(classifier, pictures, torch.tensor(labels)) >= 0.9
