"""What ``dit-accel sample`` may be told: everything that decides a set of images."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from dit_accel.configuration.overrides import read_config
from dit_accel.configuration.strict_model import StrictModel
from dit_accel.sampling.conditions.text_files import HALF_A_PAIR, is_unicode
from dit_accel.sampling.solvers import SOLVERS, SolverName

_KINDS = ("labels", "prompts", "coco")


class DataConfig(StrictModel):
    """Where the condition of each image comes from; exactly one of labels, prompts, coco.

    * ``labels: uniform`` draws class ``i`` independently and uniformly, a function of the config's
      seed and ``i`` alone; among the classes that the model names, or all where it names none.
      ``labels: balanced`` takes them in turn. A list (names or numbers) or a text file of labels is
      taken in turn too, from its beginning again where the set is longer.
    * ``prompts``: a list, a ``.txt``, ``.jsonl`` or ``.csv`` file, or ``photos``, the list that
      ships with the package; taken in turn, from the beginning again (with other seeds) where the
      set is longer. Texts are used as they are.
    * ``coco``: captions of a COCO caption file, chosen by ``ids`` or by the rule of
      ``conditions.coco``; never used twice.
    """

    labels: str | tuple[int | str, ...] | None = Field(
        default=None, description="uniform, balanced, a list of names and numbers, or a text file"
    )
    prompts: str | tuple[str, ...] | None = Field(
        default=None, description="a list, a .txt, .jsonl or .csv file, or photos"
    )
    coco: str | None = Field(default=None, description="a caption file like captions_val2014.json")
    ids: str | None = Field(default=None, description="for coco: a file with annotation ids")
    ids_sha256: str | None = Field(
        default=None, description="for coco: SHA-256 of the ids, one a line"
    )

    @field_validator("labels", "prompts", mode="before")
    @classmethod
    def _text_or_list(cls, value: Any, info: ValidationInfo) -> Any:
        # Checked here, because a union complains once for each of its sides.
        item_types = (str, int) if info.field_name == "labels" else (str,)
        listed = isinstance(value, tuple) and all(type(item) in item_types for item in value)
        if listed and not all(is_unicode(str(item)) for item in value):
            raise ValueError(f"{HALF_A_PAIR}; correct it")
        if value is None or isinstance(value, str) or listed:
            return value
        description = cls.model_fields[str(info.field_name)].description
        raise ValueError(f"expected {description}; correct this value")

    @field_validator("ids_sha256")
    @classmethod
    def _hex(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch("[0-9a-fA-F]{64}", value):
            raise ValueError("expected 64 hex digits; run 'sha256sum' on the ids, one a line")
        return value

    @property
    def kind(self) -> str:
        """``labels``, ``prompts`` or ``coco``."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    @model_validator(mode="after")
    def _one_kind(self) -> DataConfig:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(
                f"got {found}, expected exactly one of {', '.join(_KINDS)}; write for instance "
                "data: {labels: uniform} (--set data={labels: uniform} replaces all of it)"
            )
        if self.coco is None and (self.ids or self.ids_sha256):
            raise ValueError("'ids' and 'ids_sha256' choose COCO captions; add 'coco: …'")
        return self


class SampleConfig(StrictModel):
    """A set of images: image ``i`` comes from condition ``i`` of ``data`` and seed ``seed + i``.

    What decides the pictures (see ``sampling.identity``) guards a run folder against being resumed
    with another config; batch size, output, shard size and statistics do not decide them.
    """

    model: str = Field(description="dit-photos, pixart-photos, or a diffusers pipeline folder")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="type of the weights and of the arithmetic"
    )
    plan: Any = Field(
        default_factory=dict,
        description="preset, YAML path, or a plan written out; {} is the model as it is",
    )
    scheduler: SolverName = Field(default="DDIM", description=", ".join(SOLVERS))
    num_inference_steps: int = Field(default=50, gt=0, description="steps of the scheduler")
    guidance_scale: float = Field(
        default=4.0, ge=0, description="classifier-free guidance; off at 1 and below"
    )
    height: int | None = Field(default=None, gt=0, description="pixels; the model's own if null")
    width: int | None = Field(default=None, gt=0, description="pixels; the model's own if null")
    num_samples: int | None = Field(
        default=None, gt=0, description="images; as many as prompts or listed labels if null"
    )
    seed: int = Field(default=0, ge=0, description="image i uses seed + i")
    batch_size: int = Field(default=8, gt=0, description="images at a time; halved if too many")
    data: DataConfig = Field(description="labels, prompts or coco")
    output: str = Field(default="runs/sample", description="the run's folder")
    format: Literal["png", "npz", "webdataset"] = Field(
        default="png", description="a PNG an image, or uncompressed arrays or tar files by shard"
    )
    deterministic: bool = Field(
        default=False, description="bitwise equal images on one machine at this batch size"
    )
    statistics: tuple[str, ...] = Field(
        default=(), description="extractors whose statistics are computed while sampling"
    )
    shard_size: int | None = Field(
        default=None, gt=0, description="images claimed by a rank at a time; derived if null"
    )

    @field_validator("model", "output")
    @classmethod
    def _home(cls, value: str) -> str:
        # No shell has seen a config: without this, '~/runs' is a folder called '~'.
        return os.path.expanduser(value)

    @field_validator("data", mode="before")
    @classmethod
    def _read_data(cls, value: Any) -> Any:
        # Built here, so that its errors are worded by its own fields.
        if isinstance(value, dict):
            return DataConfig(**{str(key): item for key, item in value.items()})
        if isinstance(value, DataConfig):
            return value
        raise ValueError("expected a mapping; write for instance data: {labels: uniform}")

    @model_validator(mode="after")
    def _whole_batches(self) -> SampleConfig:
        if self.deterministic and self.shard_size and self.shard_size % self.batch_size:
            raise ValueError(
                f"shard_size: got {self.shard_size} with batch_size {self.batch_size}, expected a "
                "multiple of it with 'deterministic: true', whose batches are always the same; "
                f"use {-(-self.shard_size // self.batch_size) * self.batch_size}, or remove it"
            )
        return self


def derived_shard_size(num_samples: int, batch_size: int) -> int:
    """Images a rank claims at a time: whole batches, about 64 images, a 32nd of the set at most.

    Large enough that claims cost nothing, small enough that ranks end together.
    """
    wanted = min(64, num_samples // 32)
    return max(1, wanted // batch_size) * batch_size


def load_sample_config(path: str | Path, assignments: Sequence[str]) -> SampleConfig:
    """Read a config and apply ``--set`` assignments.

    Raises:
        PlanError: with the field's path, the value, what was expected and the remedy.
    """
    return read_config(SampleConfig, path, assignments)
