"""``dit-accel score``: numbers for image sets, each with everything that made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console

if TYPE_CHECKING:
    from dit_accel.scoring.metric_spec import IntervalMethod
    from dit_accel.scoring.records import ScoreRecord


def score(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET...", help="Runs, folders of pictures, .npz files."),
    ],
    metrics: Annotated[
        str, typer.Option(help="Names, separated by commas: fid,kid,prdc,fd_ref,psnr,…")
    ] = "",
    reference: Annotated[
        str | None, typer.Option(help="Real pictures: file of 'reference', statistics, or images.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Run of the same seeds, for psnr, ssim, lpips, ….")
    ] = None,
    extractor: Annotated[
        str, typer.Option(help="Network of feature_cosine and fd_to_dense.")
    ] = "ref",
    extractor_weights: Annotated[
        Path | None, typer.Option(help="Weights file, or a folder that holds them.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Prompts of the pictures, where the run has none.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where lines go; TARGET/scores.jsonl by default.")
    ] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Score unfinished sets, labelled as partial.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compute what would mislead, and mark it.")
    ] = False,
    interval: Annotated[
        str, typer.Option(help="Of Fréchet distances: influence (quick), or subsets.")
    ] = "influence",
    table: Annotated[
        bool, typer.Option("--table", help="Print the newest scores of all targets as Markdown.")
    ] = False,
) -> None:
    """Score image sets against real pictures, or against the dense run of the same seeds.

    Every value becomes a line of scores.jsonl. Sets of different N, another preprocessing than the
    reference's, other seeds than the baseline's and unfinished sets are refused.
    """
    from dit_accel.errors import DitAccelError
    from dit_accel.sampling.loading import default_device
    from dit_accel.scoring.records import append_records, read_records, scores_path
    from dit_accel.scoring.score import score_all
    from dit_accel.scoring.scorer import ScoreRequest
    from dit_accel.scoring.table import score_table

    names = tuple(metrics.replace(",", " ").split())
    if not names and not table:
        raise DitAccelError("metrics: none given; say which, as in --metrics fd_ref,psnr")
    places = {target: scores_path(Path(target), output) for target in targets}
    if names:
        request = ScoreRequest(
            names,
            reference=reference,
            baseline=baseline,
            extractor=extractor,
            weights=extractor_weights,
            prompts=prompts,
            force=force,
            allow_partial=allow_partial,
            interval=cast("IntervalMethod", interval),
            device=str(default_device()),
        )
        found = score_all(targets, request, notify=_notify)
        for (target, place), records in zip(places.items(), found, strict=True):
            append_records(place, records)
            if not table:
                _print(target, records)
    if table:
        found_in = {name: read_records(path) for name, path in places.items()}
        typer.echo(score_table(found_in if output is None else _by_target(found_in)))


def _by_target(found: dict[str, list[ScoreRecord]]) -> dict[str, list[ScoreRecord]]:
    """Of a file that holds the scores of several targets, to each its own."""
    return {
        target: [r for r in records if Path(r.images["path"]) == Path(target)]
        for target, records in found.items()
    }


def _notify(text: str) -> None:
    Console(stderr=True).print(text, style="yellow", markup=False, soft_wrap=True)


def _print(target: str, records: list[ScoreRecord]) -> None:
    """One line a value."""
    from dit_accel.scoring.table import value_text

    for record in records:
        typer.echo(f"{target}: {record.label} {value_text(record)}")
