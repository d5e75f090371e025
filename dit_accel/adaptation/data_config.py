"""What an adaptation is trained on: the teacher's own trajectories, or pictures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from dit_accel.configuration.strict_model import StrictModel
from dit_accel.errors import PlanError, Problem, mismatch

Conditions = str | tuple[str | int, ...]


class CachedConfig(StrictModel):
    """What is made once and kept on disk.

    Args:
        cache: folder for it, which several trainings may share; in the run's folder if null.
    """

    cache: str | None = None


class TrajectoriesConfig(CachedConfig):
    """Data-free: states that the teacher passes through, and what it says of them.

    Args:
        samples: trajectories, each of the run's steps.
        batch_size: of the sampling.
        labels: `uniform`, `balanced`, a list, or a file with one class a line.
        prompts: instead, for models that read texts: a list, a shipped list's name, or a file.
        renoise: share of the batches made of the last states instead, noised afresh to any
            timestep; the teacher is asked again for each, and fewer trajectories do.
    """

    kind: Literal["trajectories"] = "trajectories"
    samples: Annotated[int, Field(gt=0)] = 256
    batch_size: Annotated[int, Field(gt=0)] = 16
    labels: Conditions | None = None
    prompts: Conditions | None = None
    renoise: Annotated[float, Field(ge=0, le=1)] = 0.0


class PicturesConfig(CachedConfig):
    """Pictures of any source, encoded once.

    Args:
        size: side in pixels; the model's own if null. The middle square is cut out.
        batch_size: of the encoding.
        limit: pictures; all of them if null.
    """

    size: Annotated[int, Field(gt=0)] | None = None
    batch_size: Annotated[int, Field(gt=0)] = 8
    limit: Annotated[int, Field(gt=0)] | None = None


class FolderConfig(PicturesConfig):
    """Files below a folder.

    Args:
        folder: classes are its sub-folders, named by the class's name or number; texts lie beside
            the pictures in files of the same name that end in `.txt`.
    """

    kind: Literal["folder"] = "folder"
    folder: str


class WebDatasetConfig(PicturesConfig):
    """Tar files whose entries hold a picture, and `cls` (a number) or `txt` (a text).

    Args:
        shards: their paths.
    """

    kind: Literal["webdataset"] = "webdataset"
    shards: Annotated[tuple[str, ...], Field(min_length=1)]


class DatasetConfig(PicturesConfig):
    """A dataset of the Hugging Face Hub, or one on disk.

    Args:
        name: of the dataset, or its folder.
        split: of it.
        image: name of the column of pictures.
        condition: name of the column of class numbers or texts.
    """

    kind: Literal["dataset"] = "dataset"
    name: str
    split: str = "train"
    image: str = "image"
    condition: str


AnyData = TrajectoriesConfig | FolderConfig | WebDatasetConfig | DatasetConfig
KINDS: dict[str, type[AnyData]] = {
    "trajectories": TrajectoriesConfig,
    "folder": FolderConfig,
    "webdataset": WebDatasetConfig,
    "dataset": DatasetConfig,
}


def read_data(value: Any) -> Any:
    """Build the config that `kind` names, so that errors are worded by its own fields."""
    if isinstance(value, PicturesConfig | TrajectoriesConfig):
        return value
    if not isinstance(value, dict):
        raise ValueError("expected a mapping; write for instance data: {kind: trajectories}")
    kind = value.get("kind", "trajectories")
    if kind not in KINDS:
        expected, remedy = f"one of {', '.join(KINDS)}", "write kind: trajectories for no data"
        raise PlanError(Problem("kind", mismatch(kind, expected, remedy)))
    return KINDS[kind](**{str(key): item for key, item in value.items()})
