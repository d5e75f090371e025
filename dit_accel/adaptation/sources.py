"""From a config's `data` to the samples themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from accelerate import Accelerator

from dit_accel.adaptation.array_folder import ArrayFolder
from dit_accel.adaptation.conditions import ConditionTable
from dit_accel.adaptation.data_config import TrajectoriesConfig
from dit_accel.adaptation.denoising import Denoising
from dit_accel.adaptation.latents import Latents, encode_pictures
from dit_accel.adaptation.noise_levels import NoiseLevels
from dit_accel.adaptation.pictures import read_pictures
from dit_accel.adaptation.prepare import PreparedAdaptation
from dit_accel.adaptation.samples import Source
from dit_accel.adaptation.trajectories import Trajectories, TrajectoryRequest
from dit_accel.errors import DitAccelError, mismatch
from dit_accel.sampling.conditions.labels import ClassNames
from dit_accel.sampling.loading import pipeline_labels

Advance = Callable[[str], None]


class OpenedSource(NamedTuple):
    """Samples, cached on disk as far as they are to be.

    Attributes:
        source: of them.
        table: of the conditions that they have.
        fresh: the same samples noised afresh, where a share of the training is to be of these.
    """

    source: Source
    table: ConditionTable
    fresh: Source | None = None


def open_source(
    prepared: PreparedAdaptation,
    pipe: Any,
    levels: NoiseLevels,
    accelerator: Accelerator,
    advance: Advance,
) -> OpenedSource:
    """The samples that a config asks for.

    Raises:
        DitAccelError: the pictures are not there, or too few, or the cache is of other ones.
    """
    if isinstance(prepared.config.data, TrajectoriesConfig):
        return _trajectories(prepared, prepared.config.data, pipe, levels, accelerator, advance)
    return _latents(prepared, pipe, levels, advance)


def _trajectories(
    prepared: PreparedAdaptation,
    data: TrajectoriesConfig,
    pipe: Any,
    levels: NoiseLevels,
    accelerator: Accelerator,
    advance: Advance,
) -> OpenedSource:
    config, sampling = prepared.config, prepared.sampling
    table = _condition_table(pipe, prepared.conditions, prepared.native)
    request = TrajectoryRequest(
        pipe=pipe,
        denoising=Denoising(table, config.run, accelerator.autocast),
        conditions=table.rows(prepared.conditions),
        levels=levels,
        seed=sampling.config.seed,
        batch_size=data.batch_size,
    )
    teacher = {key: each for key, each in sampling.identity.items() if not key.startswith("plan")}
    precision = accelerator.mixed_precision
    identity = {**teacher, "precision": precision, "batch_size": data.batch_size}
    arrays = ArrayFolder(config.folder / "trajectories", identity)
    trajectories = Trajectories(request, arrays)
    trajectories.fill(advance)
    fresh = Latents(arrays, request.conditions, levels) if data.renoise else None
    return OpenedSource(trajectories, table, fresh)


def _latents(
    prepared: PreparedAdaptation, pipe: Any, levels: NoiseLevels, advance: Advance
) -> OpenedSource:
    config, data = prepared.config, prepared.config.data
    assert not isinstance(data, TrajectoriesConfig)
    transformer = pipe.transformer.config
    classes = None
    if hasattr(transformer, "num_embeds_ada_norm") and not hasattr(pipe, "text_encoder"):
        names = pipeline_labels(prepared.sampling.folder)
        classes = ClassNames(int(transformer.num_embeds_ada_norm), names)
    pictures = read_pictures(data, classes)
    if len(pictures) <= config.held_out:
        expected = f"more pictures than held_out ({config.held_out})"
        raise DitAccelError("data: " + mismatch(len(pictures), expected, "lower held_out"))
    size = data.size or prepared.native[0]
    conditions = [picture.condition for picture in pictures]
    table = _condition_table(pipe, conditions, (size, size))
    identity = {
        "model": prepared.sampling.identity["model"],
        "data": data.model_dump(mode="json"),
        "size": size,
        "conditions": conditions,
    }
    arrays = ArrayFolder(config.folder / "latents", identity)
    encode_pictures(pictures, pipe, size, data.batch_size, arrays, advance)
    return OpenedSource(Latents(arrays, table.rows(conditions), levels), table)


def _condition_table(
    pipe: Any, conditions: Sequence[int | str], native: tuple[int, int]
) -> ConditionTable:
    """The table of whatever conditions there are."""
    texts = [each for each in conditions if isinstance(each, str)]
    if texts:
        return ConditionTable.of_texts(pipe, texts, native)
    labels = [each for each in conditions if isinstance(each, int)]
    return ConditionTable.of_classes(pipe.transformer, labels)
