"""Everything that wants a CUDA GPU, in one command: tests, benchmarks, evaluation, and training.

Run ``python scripts/gpu_suite.py --output runs/gpu_suite`` from a checkout. Every part is a
process of its own with a time limit, and leaves ``<part>.json``; a part that succeeded before is
skipped, so that the same command goes on where it was stopped. ``--device cpu --tiny`` tries the
whole of it on any machine, on toy models.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from dit_accel.measure.architectures import load_architecture
from dit_accel.measure.provenance import provenance
from dit_accel.sampling.loading import default_device

ROOT = Path(__file__).resolve().parents[1]
BENCHED = {"dit-xl-2-512": "DiT-XL-2-512", "pixart-sigma-1024": "PixArt-Sigma-XL-2-1024"}
# The shipped pipelines, with the small evaluation of each.
TRAINED = {"dit-photos": "quickstart", "pixart-photos": "quickstart_text"}
TINY_CONFIG = {"num_layers": 2, "num_attention_heads": 2, "sample_size": 16}


@dataclass(frozen=True)
class Part:
    """One process of the suite.

    Attributes:
        name: of its files in the output folder.
        command: what is run from the repository's root.
        limit: seconds after which it is stopped, and may be taken up again by the next call.
    """

    name: str
    command: list[str]
    limit: int


def parts(output: Path, device: str, *, tiny: bool, train: bool) -> list[Part]:
    """The suite: GPU-marked tests, benchmarks of full-size architectures (eager and compiled),
    benchmarks and large evaluations of the shipped pipelines, benchmarks of token density, and
    trainings if asked for.
    """
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
    suite = [Part("tests", [*tests, "--collect-only"] if tiny else tests, 1200)]
    for name, model in BENCHED.items():
        for compiled in (False, True):
            suite.append(_bench(output, device, name, model, tiny=tiny, compiled=compiled))
    suite += [_trained_bench(output, device, name, tiny=tiny) for name in TRAINED]
    suite += [_evaluation(output, name, tiny=tiny) for name in TRAINED]
    for compiled in (False, True):
        suite.append(_density_bench(output, device, tiny=tiny, compiled=compiled))
    if train:
        suite += [_training(output, name, tiny=tiny) for name in TRAINED]
        suite.append(_adaptation(output, tiny=tiny))
    return suite


def _bench(output: Path, device: str, name: str, model: str, *, tiny: bool, compiled: bool) -> Part:
    part = f"bench-{name}-{'compiled' if compiled else 'eager'}"
    source = str(_tiny_config(output, model)) if tiny else model
    options = ["--random-weights", "--plan", "quality", "balanced", "fast"]
    options += [*_bench_size(8, tiny=tiny), *(["--compile"] if compiled else [])]
    return Part(part, _bench_command(output, device, part, source, options), 1800)


def _density_bench(output: Path, device: str, *, tiny: bool, compiled: bool) -> Part:
    """FlexDiT's layout and grid on DiT-XL/2 at 512 pixels, both forms, beside dense."""
    part = f"bench-density-{'compiled' if compiled else 'eager'}"
    plans = []
    for form in ("delta", "paper"):
        path = output / f"density-{form}.yaml"
        density = {"kind": "sparse", "pool": 4, "form": form}  # 8 x 8 of 32 x 32 tokens
        path.write_text(yaml.safe_dump({"exact": True, "density": density}))
        plans.append(str(path))
    source = str(_tiny_config(output, "DiT-XL-2-512")) if tiny else "DiT-XL-2-512"
    options = ["--random-weights", "--plan", "exact", *plans]
    options += [*_bench_size(8, tiny=tiny), *(["--compile"] if compiled else [])]
    return Part(part, _bench_command(output, device, part, source, options), 1800)


def _trained_bench(output: Path, device: str, name: str, *, tiny: bool) -> Part:
    """Every preset on a shipped pipeline, whose pictures say what the speed costs."""
    part = f"bench-{name}"
    guidance = str(_shipped_config("eval", name)["guidance_scale"])
    options = ["--guidance-scale", guidance, *_bench_size(32, tiny=tiny)]
    return Part(part, _bench_command(output, device, part, name, options), 1800)


def _bench_size(images: int, *, tiny: bool) -> list[str]:
    if tiny:
        return ["--steps", "4", "--rounds", "1", "--batch-size", "1"]
    return ["--batch-size", str(images)]


def _bench_command(
    output: Path, device: str, part: str, model: str, options: list[str]
) -> list[str]:
    return [
        *(sys.executable, "-m", "dit_accel.cli", "bench", "--model", model, "--device", device),
        *("--dtype", "bfloat16", "--output", str(output / f"{part}-report"), *options),
    ]


def _evaluation(output: Path, name: str, *, tiny: bool) -> Part:
    """The evaluation of a shipped pipeline on a set forty times as large; it resumes by itself."""
    config = TRAINED[name] if tiny else name.replace("-", "_")
    number, batch = (2, 2) if tiny else (10000, 128)
    size = [f"num_samples={number}", f"batch_size={batch}", f"latency_images={min(32, number)}"]
    changes = [*size, f"output={output / f'evaluation-{name}'}"]
    command = [
        *(sys.executable, "-m", "dit_accel.cli", "evaluate", f"configs/eval/{config}.yaml"),
        "--quiet",
        *(part for change in changes for part in ("--set", change)),
    ]
    return Part(f"evaluate-{name}", command, 1800)


def _tiny_config(output: Path, model: str) -> Path:
    """The architecture of ``model``, made small enough for any machine."""
    config = {**load_architecture(model).config, **TINY_CONFIG}
    if "cross_attention_dim" in config:
        width = TINY_CONFIG["num_attention_heads"] * config["attention_head_dim"]
        config |= {"cross_attention_dim": width, "caption_channels": 32}
    path = output / f"tiny-{model}.json"
    path.write_text(json.dumps(config, indent=2) + "\n")
    return path


def _training(output: Path, name: str, *, tiny: bool) -> Part:
    """A longer training of a reference pipeline, into its own folder; it resumes by itself."""
    script = [sys.executable, "scripts/train_reference.py"]
    if tiny:
        return Part(f"train-{name}", [*script, "--help"], 300)
    recipe = output / f"{name}-long.yaml"
    recipe.write_text(_longer_recipe(output, name))
    return Part(f"train-{name}", [*script, str(recipe)], 6 * 3600)


def _longer_recipe(output: Path, name: str) -> str:
    """The shipped recipe with eight times the transformer steps and a crop bank to match."""
    recipe = _shipped_config("train", name)
    recipe["output"] = str(output / f"train-{name}")
    recipe["publish"]["folder"] = str(output / name)
    loop = recipe["transformer"]["loop"]
    loop["steps"], loop["decay_steps"] = 8 * loop["steps"], 8 * loop["decay_steps"]
    recipe["latents"]["crops"] *= 4
    return yaml.safe_dump(recipe, sort_keys=False)


def _adaptation(output: Path, *, tiny: bool) -> Part:
    """A longer training of the density adapter of dit-photos; it resumes by itself."""
    command = [sys.executable, "-m", "dit_accel.cli", "train"]
    if tiny:
        return Part("adapt-dit-photos", [*command, "--help"], 300)
    recipe = output / "adapt-dit-photos.yaml"
    recipe.write_text(_longer_adaptation(output))
    return Part("adapt-dit-photos", [*command, str(recipe), "--resume"], 3 * 3600)


def _longer_adaptation(output: Path) -> str:
    """The shipped recipe with eight times the steps on four times the trajectories and batch."""
    recipe = _shipped_config("adapt", "density-dit-photos")
    recipe["output"] = str(output / "adapt-dit-photos-run")
    recipe["data"]["samples"] *= 4
    recipe["data"]["batch_size"] = recipe["batch_size"] = 128
    recipe["loop"]["learning_rate"] *= 2  # by the square root of the batch's growth, as for Adam
    for key in ("steps", "warmup_steps", "decay_steps", "checkpoint_every", "preview_every"):
        recipe["loop"][key] *= 8
    return yaml.safe_dump(recipe, sort_keys=False)


def _shipped_config(kind: str, name: str) -> dict[str, Any]:
    path = ROOT / "configs" / kind / f"{name.replace('-', '_')}.yaml"
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    return config


def run_part(part: Part, output: Path) -> dict[str, Any]:
    """Run one part, or return what it left when it succeeded before."""
    record = output / f"{part.name}.json"
    if record.is_file():
        before: dict[str, Any] = json.loads(record.read_text())
        if before["outcome"] == "passed":
            return {**before, "outcome": "passed before"}
    start = time.monotonic()
    with (output / f"{part.name}.log").open("w") as log:
        outcome = _outcome(part, log.fileno())
    result = {
        "part": part.name,
        "outcome": outcome,
        "seconds": round(time.monotonic() - start, 1),
        "command": part.command,
        "provenance": provenance(),
    }
    record.write_text(json.dumps(result, indent=2) + "\n")
    return result


def _outcome(part: Part, log: int) -> str:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        part.command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        code = process.wait(timeout=part.limit)
    except subprocess.TimeoutExpired:
        return f"stopped after {part.limit} s"
    finally:
        _stop(process)
    # pytest's 5: no test was selected, which is what a suite without GPU tests of its own means.
    no_tests = part.name == "tests" and code == 5
    return "passed" if code == 0 or no_tests else f"failed with {code}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the part with everything that it started (data loaders, compile workers)."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main(
    output: Annotated[Path, typer.Option(help="Folder of all results.")] = Path("runs/gpu_suite"),
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    tiny: Annotated[bool, typer.Option("--tiny", help="Toy models, to try the suite out.")] = False,
    train: Annotated[bool, typer.Option("--train", help="Also a longer training.")] = False,
) -> None:
    """Run every part that has not succeeded yet; exit 1 if one did not."""
    if device == "cuda" and default_device().type != "cuda":
        raise typer.BadParameter("no CUDA GPU here; try the suite with --device cpu --tiny")
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    environment = json.dumps(provenance(device=device), indent=2)
    (output / "environment.json").write_text(environment + "\n")
    table = Table("part", "outcome", "seconds", title=str(output))
    outcomes = []
    for part in parts(output, device, tiny=tiny, train=train):
        result = run_part(part, output)
        outcomes.append(result["outcome"])
        table.add_row(part.name, result["outcome"], str(result["seconds"]))
    Console().print(table)
    if not all(outcome.startswith("passed") for outcome in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
