"""The config of ``sample``: flat, strict, overridable, and every key explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dit_accel import PlanError
from dit_accel.resources import config_folder
from dit_accel.sampling.sample_config import (
    DataConfig,
    SampleConfig,
    derived_shard_size,
    load_sample_config,
)

SHIPPED = config_folder("sample") / "dit_photos.yaml"


@pytest.mark.parametrize(
    "path", sorted(config_folder("sample").glob("*.yaml")), ids=lambda p: p.stem
)
def test_shipped_configs_are_read(path: Path) -> None:
    config = load_sample_config(path, [])
    assert config.output == f"runs/{path.stem}"


def test_overrides() -> None:
    changes = ["num_samples=16", "data={prompts: [a cat]}", "plan=fast", "statistics=[ref]"]
    config = load_sample_config(SHIPPED, changes)
    assert (config.num_samples, config.plan, config.statistics) == (16, "fast", ("ref",))
    assert config.data == DataConfig(prompts=["a cat"]) and config.data.kind == "prompts"
    assert load_sample_config(SHIPPED, ["data.labels=[cat, 3]"]).data.labels == ("cat", 3)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("schedler=DDIM", "schedler.*did you mean 'scheduler'"),
        ("scheduler=unipc", "did you mean 'UniPC'"),
        ("batch_size=0", "batch_size: got 0"),
        ("format=jpeg", "format: .*png"),
        ("dtype=fp8", "dtype: .*float32"),
        ("seed=-1", "seed: got -1"),
        ("data=uniform", 'data: got "uniform", expected a mapping'),
        ("data.label=uniform", "data.label: unknown key.*did you mean 'labels'"),
        ("data.prompts=[a cat]", "data: got labels and prompts"),
        ("data={}", "data: got none of them"),
        ("data.labels=[3.5]", "data.labels: got .*expected uniform, balanced"),
        ('data={prompts: ["a", "\\ud83d"]}', "data.prompts: .*half of a surrogate pair"),
        ("data={prompts: 3}", "data.prompts: got 3, expected a list"),
        ("data.ids=ids.txt", "data: 'ids' and 'ids_sha256' choose COCO"),
        ("data={coco: c.json, ids_sha256: abc}", 'data.ids_sha256: got "abc".*64 hex'),
    ],
)
def test_wrong_values_name_field_and_remedy(assignment: str, message: str) -> None:
    with pytest.raises(PlanError, match=message) as raised:
        load_sample_config(SHIPPED, [assignment])
    assert "dit_photos.yaml" in str(raised.value)
    assert len(raised.value.problems) == 1


def test_deterministic_sets_are_made_of_whole_batches() -> None:
    changes = ["deterministic=true", "batch_size=8"]
    assert load_sample_config(SHIPPED, [*changes, "shard_size=16"]).shard_size == 16
    with pytest.raises(PlanError, match=r"got 20 with batch_size 8.*use 24"):
        load_sample_config(SHIPPED, [*changes, "shard_size=20"])


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = load_sample_config(SHIPPED, ["output=~/runs/a", "model=~/models/b"])
    assert (config.output, config.model) == ("/home/me/runs/a", "/home/me/models/b")


def test_every_key_is_explained() -> None:
    for model in (SampleConfig, DataConfig):
        assert all(field.description for field in model.model_fields.values())


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "expected"),
    [(256, 8, 8), (50_000, 64, 64), (50_000, 24, 48), (50_000, 100, 100), (3, 8, 8), (2000, 1, 62)],
)
def test_shards(num_samples: int, batch_size: int, expected: int) -> None:
    assert derived_shard_size(num_samples, batch_size) == expected


@given(st.integers(1, 10**6), st.integers(1, 512))
def test_shards_are_whole_batches(num_samples: int, batch_size: int) -> None:
    size = derived_shard_size(num_samples, batch_size)
    assert size % batch_size == 0 and size >= batch_size
    assert size <= max(batch_size, 64, num_samples // 32)
