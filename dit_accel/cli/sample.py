"""``dit-accel sample``: a set of images from a config, by one process or by many."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

if TYPE_CHECKING:
    from dit_accel.runs.folder import RunFolder
    from dit_accel.sampling.preparing import PreparedSampling
    from dit_accel.sampling.ranks.set_progress import SetProgress
    from dit_accel.sampling.ranks.shard import Shard
    from dit_accel.scoring.while_sampling import FeatureRecorder


def sample(
    config: Annotated[Path, typer.Argument(help="YAML file, for instance of configs/sample/.")],
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value, as in seed=7; repeat."),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="This process's share, I from 0; by default what torchrun or Slurm say.",
        ),
    ] = None,
    steal: Annotated[
        bool,
        typer.Option("--steal/--no-steal", help="Help other ranks when the own share is done."),
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="Plain lines in place of a bar.")] = False,
    executor: Annotated[
        Literal["local", "ray"],
        typer.Option(help="local: in this process; ray: one actor a GPU of a Ray cluster."),
    ] = "local",
) -> None:
    """Make a set of images, or go on with one that was begun, alone or as one of many processes.

    Run it again after whatever happened: it makes what is missing, and nothing twice. Exits with
    0 when its part is done, 1 if it cannot go on, 2 for what is refused, 130 or 143 if stopped.
    """
    from dit_accel.errors import DitAccelError
    from dit_accel.sampling.preparing import prepare_sampling
    from dit_accel.sampling.ranks.shard import current_shard
    from dit_accel.sampling.ranks.worker import SamplingError
    from dit_accel.sampling.sample_config import load_sample_config

    if executor == "ray" and (shard is not None or not steal):
        raise DitAccelError(
            "--executor: ray deals out the work by itself; leave out --shard and --no-steal"
        )
    place = current_shard(shard)
    prepared = prepare_sampling(load_sample_config(config, assignments or ()))
    try:
        if executor == "ray":
            progress = _with_ray(prepared, quiet=quiet)
        else:
            progress = _in_this_process(prepared, place, steal=steal, quiet=quiet)
    except SamplingError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    if place.rank == 0 and progress.is_complete:
        _gather_features(prepared, place)
    _report(prepared, progress, place)
    if progress.exit_code:
        again = ["dit-accel", "sample", str(config)]
        again += [part for change in assignments or () for part in ("--set", change)]
        again += ["--shard", shard] if shard else []
        again += [] if steal else ["--no-steal"]
        again += ["--executor", executor] if executor != "local" else []
        launched = place.world_size > 1 and shard is None
        where = "the same launcher, or alone, " if launched else ""
        typer.echo(f"stopped; resume with: {where}{shlex.join(again)}", err=True)
        raise typer.Exit(progress.exit_code)


def _in_this_process(
    prepared: PreparedSampling, shard: Shard, *, steal: bool, quiet: bool
) -> SetProgress:
    from dit_accel.cli.progress import quiet_diffusers
    from dit_accel.sampling.ranks.worker import open_run_folder, sample_set

    quiet_diffusers()
    folder = open_run_folder(prepared)
    return sample_set(
        prepared,
        shard,
        folder=folder,
        steal=steal,
        observers=_feature_recorders(prepared, folder, shard),
        display=set_display(shard, quiet),
    )


def _with_ray(prepared: PreparedSampling, *, quiet: bool) -> SetProgress:
    from dit_accel.errors import DitAccelError, mismatch
    from dit_accel.sampling.ranks.shard import Shard

    if find_spec("ray") is None:
        remedy = "install it with: pip install 'dit-accel[ray]'"
        raise DitAccelError("--executor: " + mismatch("ray", "Ray to be installed", remedy))
    from dit_accel.sampling.ranks.ray_executor import sample_with_ray

    display = set_display(Shard(), quiet)
    return sample_with_ray(prepared, observe=_feature_recorders, display=display)


def _feature_recorders(
    prepared: PreparedSampling, folder: RunFolder, shard: Shard
) -> Sequence[FeatureRecorder]:
    """What computes the features that the config asks for while images are at hand."""
    if not prepared.config.statistics:
        return ()
    from dit_accel.extractors.registry import load_extractor
    from dit_accel.scoring.while_sampling import FeatureRecorder

    names, device = prepared.config.statistics, str(shard.device)
    return [FeatureRecorder(folder, load_extractor(name, device=device)) for name in names]


def _gather_features(prepared: PreparedSampling, shard: Shard) -> None:
    """Make one file of statistics of what all ranks have kept, blocks of earlier launches too."""
    from dit_accel.runs.folder import RunFolder

    for recorder in _feature_recorders(prepared, RunFolder.read(_output(prepared)), shard):
        from dit_accel.scoring.while_sampling import gather_features

        gather_features(recorder.folder, recorder.extractor)


def _output(prepared: PreparedSampling) -> Path:
    return Path(prepared.config.output)


def set_display(shard: Shard, quiet: bool) -> Callable[[RunFolder], AbstractContextManager[None]]:
    """The first rank shows the progress of all."""
    from dit_accel.sampling.ranks.set_progress import show_bar, show_lines, show_nothing

    if shard.rank != 0:
        return show_nothing
    return show_lines if quiet or not sys.stderr.isatty() else show_bar


def _report(prepared: PreparedSampling, progress: SetProgress, shard: Shard) -> None:
    """The set and its speed from the first rank; of the others, what they did."""
    from dit_accel.runs.folder import RunFolder
    from dit_accel.sampling.ranks.set_progress import describe_set

    if shard.rank == 0:
        typer.echo(describe_set(RunFolder.read(_output(prepared))))
    else:
        typer.echo(f"rank {shard.rank}/{shard.world_size}: {progress}", err=True)
