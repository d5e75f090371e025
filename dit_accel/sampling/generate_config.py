"""What ``dit-accel generate`` may be told, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from dit_accel.configuration.overrides import read_config
from dit_accel.configuration.strict_model import StrictModel
from dit_accel.errors import DitAccelError, did_you_mean, mismatch
from dit_accel.resources import config_folder
from dit_accel.sampling.batch import ImageBatch
from dit_accel.sampling.conditions.text_files import HALF_A_PAIR, is_unicode
from dit_accel.sampling.solvers import SolverName

QUICKSTART = config_folder() / "quickstart.yaml"


class GenerateConfig(StrictModel):
    """A few images, dense beside accelerated.

    Image ``i`` comes from ``class_labels[i]`` (or ``prompts[i]``) and the seed ``seed + i``, or
    from ``seeds[i]``.
    """

    model: str = Field(description="dit-photos, pixart-photos, or a diffusers pipeline folder")
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    plan: Any = Field(default="balanced", description="preset, YAML path, or a plan written out")
    scheduler: SolverName = "UniPC"
    num_inference_steps: int = Field(default=20, gt=0)
    guidance_scale: float = Field(default=4.0, ge=0)
    class_labels: tuple[int | str, ...] = Field(default=(), description="names or numbers")
    prompts: tuple[str, ...] = Field(default=(), description="for text-conditional pipelines")
    seed: int = Field(default=0, ge=0)
    seeds: tuple[int, ...] = Field(default=(), description="one an image; in place of seed")
    rounds: int = Field(default=3, gt=0, description="measured rounds, interleaved")
    output: str = "runs/generate"

    @field_validator("prompts")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(is_unicode(prompt) for prompt in value):
            raise ValueError(f"{HALF_A_PAIR}; correct it")
        return value

    @model_validator(mode="after")
    def _one_seed_an_image(self) -> GenerateConfig:
        if bool(self.class_labels) == bool(self.prompts):
            given = "both" if self.prompts else "neither"
            raise ValueError(
                f"expected either class_labels or prompts, got {given}; give class_labels for a "
                "model of classes, prompts for one of texts, as configs/quickstart_text.yaml does"
            )
        if self.seeds and len(self.seeds) != self.num_images:
            raise ValueError(
                f"expected one seed an image, got {len(self.seeds)} seeds for {self.num_images} "
                "images; give as many, or 'seed' alone"
            )
        return self

    @property
    def num_images(self) -> int:
        """Images to make."""
        return len(self.class_labels or self.prompts)

    @property
    def image_seeds(self) -> tuple[int, ...]:
        """The seed of each image."""
        return self.seeds or tuple(range(self.seed, self.seed + self.num_images))


def load_generate_config(
    path: str | Path | None, assignments: Sequence[str], prompts: Sequence[str] = ()
) -> GenerateConfig:
    """Read a config, the packaged quick start by default, and apply ``--set`` assignments.

    Args:
        path: of a YAML file.
        assignments: ``key=value``, the values read as YAML.
        prompts: in place of the file's, if there are any; not YAML, but texts as they are.

    Raises:
        PlanError: with the field's path, the value, what was expected and the remedy.
    """
    replaced = {"prompts": list(prompts)} if prompts else {}
    return read_config(GenerateConfig, path or QUICKSTART, assignments, replaced)


def image_batch(config: GenerateConfig, labels: Mapping[str, int], num_classes: int) -> ImageBatch:
    """Resolve a config's class names against a pipeline's.

    Args:
        config: a generate config.
        labels: class name to number.
        num_classes: classes of the model; 0 for a text-conditional one.

    Raises:
        DitAccelError: a class that the pipeline does not have, or the wrong kind of condition.
    """
    if bool(config.prompts) == bool(num_classes):
        wanted, given = ("class_labels", "prompts") if num_classes else ("prompts", "class_labels")
        raise DitAccelError(
            f"{given}: {config.model} is conditioned on {wanted}; give these instead"
        )
    if config.prompts:
        return ImageBatch(config.image_seeds, config.guidance_scale, prompts=config.prompts)
    ids = tuple(_label_id(label, labels) for label in config.class_labels)
    outside = [label for label in ids if not 0 <= label < num_classes]
    if outside:
        expected = f"numbers from 0 to {num_classes - 1}"
        raise DitAccelError("class_labels: " + mismatch(outside, expected, "leave the others out"))
    return ImageBatch(config.image_seeds, config.guidance_scale, class_labels=ids)


def _label_id(label: int | str, labels: Mapping[str, int]) -> int:
    if isinstance(label, int):
        return label
    if label not in labels:
        expected = f"one of {', '.join(labels)}" if labels else "a number (the model has no names)"
        remedy = did_you_mean(label, labels) + "correct the name"
        raise DitAccelError("class_labels: " + mismatch(label, expected, remedy))
    return labels[label]
