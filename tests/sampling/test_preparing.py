"""What is refused before a model is loaded, and what guards a run folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from saved_text_pipelines import save_tiny_pixart

from dit_accel import DitAccelError
from dit_accel.install import plan_of
from dit_accel.resources import config_folder
from dit_accel.sampling import identity as identity_module
from dit_accel.sampling.generate import ready_pipeline
from dit_accel.sampling.identity import file_digest
from dit_accel.sampling.preparing import PreparedSampling, prepare_sampling
from dit_accel.sampling.sample_config import SampleConfig, load_sample_config


@pytest.fixture(scope="module")
def tiny_pixart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pixart(tmp_path_factory.mktemp("tiny_pixart"))


def prepared(model: Path | str, **changes: Any) -> PreparedSampling:
    document = {"num_samples": 6, "num_inference_steps": 4, "data": {"labels": "uniform"}}
    return prepare_sampling(SampleConfig(**{"model": str(model), **document, **changes}))


def test_what_is_prepared(tiny_pipeline: Path) -> None:
    plan = {"cache": {"policy": "interval"}}
    found = prepared(tiny_pipeline, num_samples=None, data={"labels": ["moon", 0]}, plan=plan)
    assert found.config.num_samples == len(found.specs) == 2
    assert [spec.class_label for spec in found.specs] == [1, 0]
    assert found.shard_size == 8 and found.folder == tiny_pipeline
    assert found.plan.to_dict() == plan and found.environment["versions"]
    json.dumps([found.identity, found.environment])


def test_ready_pipeline_has_solver_and_plan(tiny_pipeline: Path) -> None:
    found = prepared(tiny_pipeline, plan="balanced", scheduler="UniPC")
    pipe = ready_pipeline(found, "cpu")
    assert plan_of(pipe) == found.plan
    assert type(pipe.scheduler).__name__ == "UniPCMultistepScheduler"
    own = found.identity["scheduler"]
    used = pipe.scheduler.config
    assert all(used[key] == own[key] for key in own if key in used)
    assert pipe.scheduler.config.prediction_type == own["prediction_type"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "dit-photo"}, "dit-photos, pixart-photos.*did you mean 'dit-photos'"),
        ({"model": "pixart-fotos"}, "model: got .*did you mean 'pixart-photos'"),
        ({"plan": "balnced"}, "did you mean 'balanced'"),
        ({"plan": {"cache": {"policy": "sometimes"}}}, "cache.policy"),
        ({"plan": {"density": {"kind": "pooled", "pool": 2, "layers": [2, 9]}}}, "density.layers"),
        ({"data": {"labels": ["mon"]}}, "did you mean 'moon'"),
        ({"data": {"labels": [3]}}, "from 0 to 2"),
        ({"data": {"prompts": ["a cat"]}}, "data.prompts: .*conditioned on labels"),
        ({"data": {"coco": "captions.json"}}, "data.coco: .*conditioned on labels"),
        ({"height": 33}, "height: got 33.*use 32"),
        ({"height": 32, "width": 64}, "equal sides"),
        ({"num_inference_steps": 1001}, "at most 1000"),
        ({"num_samples": None}, "num_samples: missing"),
        ({"statistics": ["inceptoin-tf"]}, "did you mean 'inception-tf'"),
    ],
)  # fmt: skip
def test_refused_before_anything_is_loaded(
    tiny_pipeline: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", None)
    with pytest.raises(DitAccelError, match=message):
        prepared(**{"model": tiny_pipeline, **changes})


def test_text_models_take_prompts(tiny_pixart: Path) -> None:
    found = prepared(tiny_pixart, data={"prompts": ["", "a cat"]}, num_samples=3, width=32)
    assert [spec.prompt for spec in found.specs] == ["", "a cat", ""]
    assert (found.identity["height"], found.identity["width"]) == (32, 32)
    assert any("text_encoder" in name for name in found.identity["model"]["files"])
    assert any("tokenizer" in name for name in found.identity["model"]["files"])
    with pytest.raises(DitAccelError, match=r"data.labels: .*conditioned on prompts"):
        prepared(tiny_pixart)


@pytest.mark.parametrize("name", ["dit_photos", "pixart_photos"])
def test_shipped_sets_can_be_made(name: str) -> None:
    config = load_sample_config(config_folder("sample") / f"{name}.yaml", [])
    found = prepare_sampling(config)
    assert len(found.specs) == 256 and found.identity["model"]["name"] == config.model
    assert (found.identity["height"], found.identity["width"]) == (128, 128)
    assert len(found.prompts) == (256 if name == "pixart_photos" else 0)
    assert found.identity.get("text_tokens") == (24 if name == "pixart_photos" else None)


def test_half_a_download_is_refused(tiny_pipeline: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_pipeline, tmp_path / "model")
    next((folder / "vae").glob("*.safetensors")).unlink()
    (folder / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(DitAccelError, match=r"no vae/\*\.safetensors, no scheduler/"):
        prepared(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 3},
        {"output": "elsewhere"},
        {"format": "npz"},
        {"statistics": ["ref"]},
        {"shard_size": 2},
        {"height": 32},  # the model's own
        {"plan": {"seed": 0}},
    ],
)
def test_what_does_not_decide_the_pictures(tiny_pipeline: Path, changes: dict[str, Any]) -> None:
    assert prepared(tiny_pipeline, **changes).identity == prepared(tiny_pipeline).identity


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "bfloat16"},
        {"plan": "balanced"},
        {"scheduler": "UniPC"},
        {"num_inference_steps": 5},
        {"guidance_scale": 1.0},
        {"height": 64},
        {"num_samples": 7},
        {"seed": 1},
        {"data": {"labels": "balanced"}},
        {"data": {"labels": ["cat", "moon"]}},
        {"deterministic": True},
    ],
)
def test_what_decides_the_pictures(tiny_pipeline: Path, changes: dict[str, Any]) -> None:
    assert prepared(tiny_pipeline, **changes).identity != prepared(tiny_pipeline).identity


def test_a_longer_set_differs_in_its_number_alone(tiny_pipeline: Path) -> None:
    short, long = (prepared(tiny_pipeline, num_samples=n).identity for n in (6, 60))
    assert {key for key in short if short[key] != long[key]} == {"num_samples"}


def test_deterministic_sets_are_tied_to_their_batches(tiny_pipeline: Path) -> None:
    def identity(**changes: Any) -> dict[str, Any]:
        return prepared(tiny_pipeline, deterministic=True, **changes).identity

    assert identity(batch_size=2) != identity(batch_size=3)
    # A last batch that is filled up is not the one of a longer set.
    assert identity(batch_size=4, num_samples=6)["last_batch"] == 2
    assert identity(batch_size=4, num_samples=8)["last_batch"] == 4


def test_other_weights_are_another_model(tiny_pipeline: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_pipeline, tmp_path / tiny_pipeline.name)
    assert prepared(folder).identity == prepared(tiny_pipeline).identity
    (folder / "README.md").write_text("notes")
    assert prepared(folder).identity == prepared(tiny_pipeline).identity
    weights = next((folder / "transformer").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert prepared(folder).identity != prepared(tiny_pipeline).identity


def test_large_files_are_hashed_by_chunks_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_module, "_CHUNK", 16)
    monkeypatch.setattr(identity_module, "_CHUNKS", 4)
    path = tmp_path / "weights"

    def digest(position: int | None) -> str:
        data = bytearray(1000)
        if position is not None:
            data[position] = 1
        path.write_bytes(data)
        return file_digest(path)

    plain = digest(None)
    assert plain.startswith("1000:")
    assert plain not in (digest(0), digest(999), digest(330), digest(660))
