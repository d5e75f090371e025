"""``dit-accel bench``: time, memory, MACs and fidelity of plans beside dense."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from dit_accel.cli.options import load_plans


def bench(
    more_plans: Annotated[
        list[str] | None, typer.Argument(metavar="PLAN", help="More plans.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="dit-photos, pixart-photos, a pipeline folder; with --random-weights any config."
        ),
    ] = "dit-photos",
    plan: Annotated[
        list[str] | None,
        typer.Option(help="Presets or YAML paths; repeat, or quote several. All of ours if none."),
    ] = None,
    scheduler: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:STEPS]", help="Solver of the dense base; repeat for several."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a solver given without.")] = 20,
    guidance_scale: Annotated[float, typer.Option(min=0, help="Guidance; above 1 it is on.")] = 1.5,
    num_images: Annotated[
        int, typer.Option("--num-images", "--batch-size", min=1, help="Images a run, one batch.")
    ] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Measured rounds, interleaved.")] = 5,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="Type of the weights.")
    ] = "float32",
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; the GPU by default, where there is one.")
    ] = None,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile every block.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Image i uses seed + i.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(help="Report without its suffix; results/bench_<model> by default."),
    ] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Only the speed of an architecture.")
    ] = False,
    record_presets: Annotated[
        bool, typer.Option("--record-presets", help="Keep figures of ours for 'dit-accel plans'.")
    ] = False,
) -> None:
    """Measure dense, plans, and dense with fewer steps, interleaved in one process.

    Writes JSON and Markdown with provenance, and says which plans beat dense with fewer steps at
    equal time. Models take their classes in turn, or the shipped prompts; texts are encoded
    outside of what is timed. Under torchrun every rank measures its own GPU.
    """
    from dit_accel.cli.progress import progress_bar
    from dit_accel.errors import DitAccelError
    from dit_accel.measure import ranks
    from dit_accel.measure.bench_settings import BenchSettings, prepare_benchmark
    from dit_accel.measure.benchmark import run_benchmark
    from dit_accel.measure.candidates import parse_base
    from dit_accel.presets import preset_names
    from dit_accel.reporting import bench_markdown, presets
    from dit_accel.reporting.bench_report import bench_report
    from dit_accel.reporting.bench_table import bench_table
    from dit_accel.sampling.loading import default_device

    if record_presets and random_weights:
        raise DitAccelError(
            "record_presets: figures of random weights say nothing of quality; leave out "
            "--random-weights, or --record-presets"
        )
    settings = BenchSettings(
        model=model,
        plans=load_plans([*(plan or ()), *(more_plans or ())] or preset_names(model)),
        bases=tuple(parse_base(name, steps) for name in scheduler or ["UniPC"]),
        guidance_scale=guidance_scale,
        num_images=num_images,
        rounds=rounds,
        dtype=dtype,
        device=device or default_device().type,
        compiled=compile,
        seed=seed,
        random_weights=random_weights,
    )
    prepared = prepare_benchmark(settings)
    ranks.start_ranks()
    try:
        with progress_bar("measuring", prepared.total_runs) as advance:
            benchmark = run_benchmark(prepared, advance)
        if ranks.rank() == 0:
            report = bench_report(benchmark)
            stem = output or Path("results") / f"bench_{Path(model).stem}"
            written = bench_markdown.save_bench(report, stem)
            if record_presets:
                presets.record_presets(report, presets.measured_path())
            console = Console()
            console.print(bench_table(report))
            console.print(f"report: {written[1]}", highlight=False)
    finally:
        ranks.stop_ranks()
