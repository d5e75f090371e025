"""From a config's `data` to the samples themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import Accelerator

from dit_accel.adaptation.array_folder import ArrayFolder
from dit_accel.adaptation.conditions import ConditionTable
from dit_accel.adaptation.config import AdaptationConfig
from dit_accel.adaptation.data_config import TrajectoriesConfig
from dit_accel.adaptation.denoising import Denoising
from dit_accel.adaptation.latents import Latents, PictureEncoder
from dit_accel.adaptation.noise_levels import NoiseLevels
from dit_accel.adaptation.pictures import AnyPictures, Picture, read_pictures
from dit_accel.adaptation.prepare import PreparedAdaptation
from dit_accel.adaptation.samples import Source
from dit_accel.adaptation.trajectories import NAMES, Trajectories, TrajectoryRequest
from dit_accel.errors import DitAccelError, mismatch
from dit_accel.phase_report import Report
from dit_accel.sampling.conditions.labels import ClassNames
from dit_accel.sampling.loading import pipeline_labels

# Pictures are many and their latents small: so many batches of them are one file.
_BATCHES_A_FILE = 16


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
    report: Report,
) -> OpenedSource:
    """The samples that a config asks for; each process makes its share of what is not there yet.

    Raises:
        DitAccelError: the pictures are not there, or too few, or the cache is of other ones.
    """
    if isinstance(prepared.config.data, TrajectoriesConfig):
        return _trajectories(prepared, prepared.config.data, pipe, levels, accelerator, report)
    return _latents(prepared, pipe, levels, accelerator, report)


def _trajectories(
    prepared: PreparedAdaptation,
    data: TrajectoriesConfig,
    pipe: Any,
    levels: NoiseLevels,
    accelerator: Accelerator,
    report: Report,
) -> OpenedSource:
    config, sampling = prepared.config, prepared.sampling
    table = _condition_table(pipe, prepared.conditions, prepared.native)
    request = TrajectoryRequest(
        pipe=pipe,
        denoising=Denoising(table, config.run, accelerator.autocast),
        conditions=table.rows(prepared.conditions),
        levels=levels,
        seed=sampling.config.seed,
    )
    # A trajectory is the same in a longer set, and under any plan.
    others = ("plan", "plan_fingerprint", "num_samples")
    teacher = {key: each for key, each in sampling.identity.items() if key not in others}
    precision = accelerator.mixed_precision
    arrays = ArrayFolder(
        _folder(config, "trajectories"),
        {**teacher, "precision": precision, "batch_size": data.batch_size},
        [name for name in NAMES if name != "outputs" or not config.objective.features],
        total=len(request.conditions),
        block=data.batch_size,
    )
    trajectories = Trajectories(request, arrays)
    _fill("trajectories", arrays, trajectories.make, accelerator, report)
    fresh = Latents(arrays, request.conditions, levels) if data.renoise else None
    return OpenedSource(trajectories, table, fresh)


def _latents(
    prepared: PreparedAdaptation,
    pipe: Any,
    levels: NoiseLevels,
    accelerator: Accelerator,
    report: Report,
) -> OpenedSource:
    config, data = prepared.config, prepared.config.data
    assert not isinstance(data, TrajectoriesConfig)
    pictures = _pictures(prepared, data, pipe)
    size = data.size or prepared.native[0]
    conditions = [picture.condition for picture in pictures]
    table = _condition_table(pipe, conditions, (size, size))
    arrays = ArrayFolder(
        _folder(config, "latents"),
        {
            "model": prepared.sampling.identity["model"],
            "data": data.model_dump(mode="json", exclude={"cache"}),
            "size": size,
            "conditions": conditions,
        },
        ["latents"],
        total=len(pictures),
        block=_BATCHES_A_FILE * data.batch_size,
    )
    encoder = PictureEncoder(pictures, pipe, size, data.batch_size)
    _fill("latents", arrays, encoder.make, accelerator, report)
    return OpenedSource(Latents(arrays, table.rows(conditions), levels), table)


def _pictures(prepared: PreparedAdaptation, data: AnyPictures, pipe: Any) -> list[Picture]:
    transformer, held_out = pipe.transformer.config, prepared.config.held_out
    classes = None
    if hasattr(transformer, "num_embeds_ada_norm") and not hasattr(pipe, "text_encoder"):
        names = pipeline_labels(prepared.sampling.folder)
        classes = ClassNames(int(transformer.num_embeds_ada_norm), names)
    pictures = read_pictures(data, classes)
    if len(pictures) <= held_out:
        expected = f"more pictures than held_out ({held_out})"
        raise DitAccelError("data: " + mismatch(len(pictures), expected, "lower held_out"))
    return pictures


def _folder(config: AdaptationConfig, name: str) -> Path:
    cache = config.data.cache
    return config.folder / name if cache is None else Path(cache).expanduser()


def _fill(
    name: str,
    arrays: ArrayFolder,
    make: Callable[[range], dict[str, np.ndarray]],
    accelerator: Accelerator,
    report: Report,
) -> None:
    """Make one's own share, and wait for the others'."""
    share = (accelerator.process_index, accelerator.num_processes)
    arrays.fill(make, share, lambda done, total: report(name, done, total))
    accelerator.wait_for_everyone()
    arrays.check_complete()


def _condition_table(
    pipe: Any, conditions: Sequence[int | str], native: tuple[int, int]
) -> ConditionTable:
    """The table of whatever conditions there are."""
    texts = [each for each in conditions if isinstance(each, str)]
    if texts:
        return ConditionTable.of_texts(pipe, texts, native)
    labels = [each for each in conditions if isinstance(each, int)]
    return ConditionTable.of_classes(pipe.transformer, labels)
