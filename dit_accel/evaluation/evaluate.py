"""Sample, score, time: the parts of an evaluation, each of which goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dit_accel.errors import DitAccelError
from dit_accel.evaluation.config import EvaluationConfig
from dit_accel.evaluation.speed import measure_speed, speed_document
from dit_accel.runs import RunFolder
from dit_accel.runs.atomic import write_json_atomically
from dit_accel.sampling.preparing import PreparedSampling, prepare_sampling
from dit_accel.sampling.ranks.set_progress import SetProgress, show_nothing
from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.ranks.worker import sample_set, say_on_stderr
from dit_accel.sampling.sample_config import SampleConfig
from dit_accel.scoring.metric_spec import PictureMetric
from dit_accel.scoring.metric_specs import find_metrics
from dit_accel.scoring.opening import open_source
from dit_accel.scoring.pairing import run_images
from dit_accel.scoring.records import append_records, newest, read_records, scores_path
from dit_accel.scoring.scorer import Scorer, ScoreRequest

Say = Callable[[str], None]
DOCUMENT, RESULTS = "evaluation.json", "report.json"


@dataclass(frozen=True)
class Evaluation:
    """An evaluation whose every run can be made; nothing is loaded yet.

    Attributes:
        config: what it compares.
        runs: every set, by name.
        command: makes all of it again; kept with the results.
    """

    config: EvaluationConfig
    runs: dict[str, PreparedSampling]
    command: str = ""

    @property
    def folder(self) -> Path:
        """Holds a folder for each run, and what they have in common."""
        return Path(self.runs[self.config.baseline].config.output).parent

    @property
    def request(self) -> ScoreRequest:
        """What every run is scored by."""
        baseline = self.folder / self.config.baseline
        device = str(Shard(0, 1, 0).device)
        return ScoreRequest(
            self.config.metrics,
            reference=self.config.reference,
            baseline=baseline,
            device=device,
        )


def prepare_evaluation(
    config: EvaluationConfig, samples: Mapping[str, SampleConfig], *, command: str = ""
) -> Evaluation:
    """Check every run, the metrics and the reference.

    Args:
        config: what to compare.
        samples: config of every run, as `load_evaluation` gives them.
        command: see `Evaluation`.

    Raises:
        DitAccelError: whatever would fail later, naming the run, with nothing loaded.
    """
    Scorer(ScoreRequest(_unpaired(config), reference=config.reference))
    runs = {}
    for name, sample in samples.items():
        try:
            runs[name] = prepare_sampling(sample)
            _check_prompts(config, runs[name])
        except DitAccelError as error:
            raise DitAccelError(f"runs.{name}: {error}") from None
    return Evaluation(config, runs, command)


def _unpaired(config: EvaluationConfig) -> tuple[str, ...]:
    """Metrics that can be checked before the baseline has been made."""
    found = find_metrics(config.metrics)
    return tuple(metric.name for metric in found if "baseline" not in metric.against) or ("fd_ref",)


def _check_prompts(config: EvaluationConfig, run: PreparedSampling) -> None:
    """Refuse metrics of prompts where there are none, or none that they can judge."""
    for metric in find_metrics(config.metrics):
        if isinstance(metric, PictureMetric) or "prompts" not in metric.against:
            continue
        prompts = [item for item in run.specs.conditions.items if isinstance(item, str)]
        if not prompts:
            raise DitAccelError(
                f"metrics: {metric.name} compares pictures with their prompts, and those of "
                f"{run.config.model} have none; leave it out"
            )
        metric.check_prompts(prompts)


def sample_runs(
    evaluation: Evaluation,
    shard: Shard,
    *,
    say: Say = say_on_stderr,
    display: Callable[[RunFolder], AbstractContextManager[None]] = show_nothing,
) -> SetProgress:
    """Make the sets one after the other, with all ranks at each; stop when one was stopped.

    Returns:
        The progress of the last set that was worked at.

    Raises:
        DitAccelError: as ``sample_set``.
    """
    progress = SetProgress(0, 0, 0, 0.0, 0)
    for name, prepared in evaluation.runs.items():
        say(f"sampling {name}")
        progress = sample_set(prepared, shard, say=say, display=display)
        if progress.exit_code:
            break
    return progress


def score_runs(evaluation: Evaluation, say: Say = say_on_stderr) -> None:
    """Score every set whose pictures, metrics or reference are new, into its ``scores.jsonl``.

    Raises:
        DitAccelError: as ``Scorer``.
    """
    document = _read(evaluation)
    scored = document.setdefault("scored", {})
    shared = _shared_task(evaluation)
    scorer: Scorer | None = None
    for name in evaluation.runs:
        path = evaluation.folder / name
        source = open_source(path)
        task = {**shared, "images": run_images(source).fingerprint}
        if scored.get(name) == task:
            continue
        say(f"scoring {name}")
        # One for all runs: it reads the reference and loads the networks once.
        scorer = scorer or Scorer(evaluation.request, say)
        [records] = scorer.score([source])
        append_records(scores_path(path), records)
        scored[name] = task
        _write(evaluation, document)


def _shared_task(evaluation: Evaluation) -> dict[str, Any]:
    """What the scores of all runs depend on, besides the images of each."""
    baseline = evaluation.folder / evaluation.config.baseline
    return {
        "metrics": list(evaluation.config.metrics),
        "reference": open_source(evaluation.config.reference).fingerprint,
        "baseline": run_images(open_source(baseline)).fingerprint,
        # Another release may ship other weights of `ref`, or count differently.
        "dit-accel": version("dit-accel"),
    }


def time_runs(
    evaluation: Evaluation, device: torch.device, advance: Say = lambda name: None
) -> None:
    """Measure all runs side by side, unless that was done with the same settings before."""
    config, document = evaluation.config, _read(evaluation)
    first = next(iter(evaluation.runs.values()))
    images = min(config.latency_images, len(first.specs))
    task = {
        "rounds": config.rounds,
        "images": images,
        "device": str(device),
        "runs": {name: _loop(run) for name, run in evaluation.runs.items()},
    }
    if document.get("timed") == task:
        return
    speeds = measure_speed(
        evaluation.runs, rounds=config.rounds, images=images, device=device, advance=advance
    )
    found = speed_document(speeds, images, device)
    found["provenance"] |= {"command": evaluation.command}
    _write(evaluation, {**document, **found, "timed": task})


def save_results(evaluation: Evaluation, folder: Path) -> Path:
    """Write ``report.json`` into ``folder``: all figures of the report, with what made them."""
    scores = {
        name: [asdict(record) for record in newest(read_records(scores_path(path)))]
        for name in evaluation.runs
        if (path := evaluation.folder / name).is_dir()
    }
    path = folder / RESULTS
    write_json_atomically(path, {**_read(evaluation), "scores": scores})
    return path


def _loop(run: PreparedSampling) -> dict[str, Any]:
    """What decides the pictures decides their cost, but for the number of images and the seeds."""
    apart = ("num_samples", "seed", "data")
    return {key: value for key, value in run.identity.items() if key not in apart}


def _read(evaluation: Evaluation) -> dict[str, Any]:
    """What earlier calls left, described by the present config."""
    config = evaluation.config
    path = evaluation.folder / DOCUMENT
    known: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    runs = {
        name: {"path": name, "kind": "dense" if name in config.dense else "plan", "label": name}
        for name in evaluation.runs
    }
    made = {**known.get("provenance", {}), "command": evaluation.command}
    present = {"title": config.title, "runs": runs, "baseline": config.baseline}
    return {**known, **present, "provenance": made}


def _write(evaluation: Evaluation, document: Mapping[str, Any]) -> None:
    write_json_atomically(evaluation.folder / DOCUMENT, document)
