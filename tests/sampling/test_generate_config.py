"""The config of ``generate``: strict, overridable, and resolved against a model's labels."""

from pathlib import Path

import pytest

from dit_accel import DitAccelError, PlanError
from dit_accel.resources import config_folder
from dit_accel.sampling.generate_config import GenerateConfig, image_batch, load_generate_config

TEXTS = config_folder() / "quickstart_text.yaml"
LABELS = {"cat": 0, "moon": 1, "rocket": 2}


def test_quick_start_is_the_default() -> None:
    config = load_generate_config(None, [])
    assert (config.model, config.scheduler, config.num_inference_steps) == (
        "dit-photos",
        "UniPC",
        20,
    )
    assert config.plan == "balanced"
    assert config.num_images == 4
    assert config.output == "runs/quickstart"


def test_overrides() -> None:
    changes = ["seed=7", "class_labels=[1, 2]", "plan={}", "plan.cache.interval=3"]
    config = load_generate_config(None, changes)
    assert config.image_seeds == (7, 8)
    assert config.plan == {"cache": {"interval": 3}}


def test_prompts_are_taken_as_they_are() -> None:
    prompts = ["{a: b}", "", "\x85 🚀", "null"]
    config = load_generate_config(TEXTS, ["seed=7"], prompts)
    assert config.prompts == tuple(prompts) and config.image_seeds == (7, 8, 9, 10)
    assert load_generate_config(TEXTS, []).num_images == 4
    with pytest.raises(PlanError, match=r"or prompts, got both; .*quickstart_text\.yaml"):
        load_generate_config(None, [], prompts)


def test_part_of_a_preset_cannot_be_set() -> None:
    with pytest.raises(PlanError, match="balanced"):
        load_generate_config(None, ["plan.cache.interval=3"])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("schedler=DDIM", "schedler.*did you mean 'scheduler'"),
        ("scheduler=unipc", "did you mean 'UniPC'"),
        ("num_inference_steps=0", "num_inference_steps.*got 0"),
        ("num_inference_steps=many", "num_inference_steps.*an integer"),
        ("dtype=fp8", "dtype.*float32"),
        ("seeds=[1, 2]", "one seed an image"),
        ("prompts=[a cat]", "either class_labels or prompts, got both"),
        ("class_labels=[]", "either class_labels or prompts, got neither"),
        ('prompts=["\\ud83d"]', "prompts: .*half of a surrogate pair"),
    ],
)
def test_wrong_values_name_field_and_remedy(assignment: str, message: str) -> None:
    with pytest.raises(PlanError, match=message) as raised:
        load_generate_config(None, [assignment])
    assert "quickstart.yaml" in str(raised.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"nowhere\.yaml"):
        load_generate_config(tmp_path / "nowhere.yaml", [])


def config(**changes: object) -> GenerateConfig:
    return GenerateConfig(**{"model": "m", "class_labels": ["moon", 2], "seed": 5, **changes})


def test_labels_by_name_and_number() -> None:
    batch = image_batch(config(), LABELS, num_classes=3)
    assert (batch.class_labels, batch.seeds, batch.rows) == ((1, 2), (5, 6), 4)
    assert image_batch(config(guidance_scale=1), LABELS, num_classes=3).rows == 2


@pytest.mark.parametrize(
    ("labels", "message"), [(["mon"], "did you mean 'moon'"), ([3], "0 to 2"), ([-1], "0 to 2")]
)
def test_labels_that_the_model_has_not(labels: list[object], message: str) -> None:
    with pytest.raises(DitAccelError, match=message):
        image_batch(config(class_labels=labels), LABELS, num_classes=3)


def test_wrong_kind_of_condition() -> None:
    with pytest.raises(DitAccelError, match="conditioned on prompts"):
        image_batch(config(), {}, num_classes=0)
