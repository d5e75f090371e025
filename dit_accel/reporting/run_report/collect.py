"""Reads run folders, or the folder of an evaluation, into the records that a report draws."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dit_accel.errors import DitAccelError, PlanError, UnsupportedError, mismatch
from dit_accel.measure.architectures import load_architecture
from dit_accel.measure.explain import Explanation, explain
from dit_accel.measure.plan_macs import Workload
from dit_accel.plan import Plan
from dit_accel.reporting.run_report.model import Latency, Macs, Memory, Report, Run
from dit_accel.reporting.run_report.scores import read_scores
from dit_accel.runs import RunFolder, read_manifest, speed
from dit_accel.sampling.loading import pipeline_folder, pipeline_labels

EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class _Measured:
    """What an evaluation knows of a run beyond the run's own folder."""

    kind: str | None = None
    label: str | None = None
    latency: Mapping[str, Any] | None = None
    macs: Mapping[str, Any] | None = None
    memory: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _Evaluation:
    folder: Path
    document: Mapping[str, Any] = field(default_factory=dict)

    def measured(self, name: str) -> _Measured:
        entry = self.document["runs"][name]
        of = {key: self.document.get(key, {}).get(name) for key in ("latency", "macs", "memory")}
        return _Measured(entry.get("kind"), entry.get("label"), **of)

    def run_path(self, name: str) -> Path:
        """Relative to the file; beside it if the folder was moved; relative to the shell."""
        path = Path(self.document["runs"][name]["path"])
        places = [self.folder / path, self.folder / path.name, path]
        return next((place for place in places if place.is_dir()), places[0])


def read_report(sources: Sequence[Path]) -> Report:
    """Read everything that a report on ``sources`` shows; no model is loaded.

    Args:
        sources: run folders, or one folder of an evaluation.

    Raises:
        DitAccelError: one of them is neither.
    """
    if not sources:
        raise DitAccelError("report: no run was given; give the output folders of 'sample'")
    evaluated = [source for source in sources if (source / EVALUATION).is_file()]
    if evaluated and len(sources) > 1:
        remedy = "report it alone, or give the run folders inside it"
        raise DitAccelError(f"report: {evaluated[0]} is an evaluation, which holds runs; {remedy}")
    return _evaluation_report(evaluated[0]) if evaluated else _runs_report(sources)


def _evaluation_report(folder: Path) -> Report:
    document = _read_evaluation(folder / EVALUATION)
    evaluation = _Evaluation(folder, document)
    runs = tuple(
        read_run(evaluation.run_path(name), name, evaluation.measured(name))
        for name in document["runs"]
    )
    baseline = next((run for run in runs if run.name == document.get("baseline")), None)
    provenance = document.get("provenance") or {}
    return Report(
        title=document.get("title") or document.get("name") or folder.name,
        runs=runs,
        baseline=baseline or _baseline(runs),
        provenance=provenance,
        remake=provenance.get("command") or "dit-accel evaluate CONFIG",
    )


def _read_evaluation(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        remedy = "run 'dit-accel evaluate' again, which writes it anew"
        raise DitAccelError(f"{path}: no JSON ({error}); {remedy}") from None
    if not isinstance(document, dict) or not isinstance(document.get("runs"), dict):
        expected = "a document of 'dit-accel evaluate', with 'runs'"
        raise DitAccelError(f"{path}: " + mismatch(document, expected, "give its folder"))
    return document


def _runs_report(sources: Sequence[Path]) -> Report:
    names = _distinct_names(sources)
    runs = tuple(
        read_run(path, name, _Measured()) for path, name in zip(sources, names, strict=True)
    )
    title = names[0] if len(names) == 1 else f"{len(names)} runs"
    return Report(title, runs, _baseline(runs), {}, "")


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """The folders' names; with as many parents before them as it takes to tell them apart."""
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        raise DitAccelError("report: the same run was given twice; give each once")
    for parts in range(1, max(len(path.parts) for path in resolved) + 1):
        names = ["/".join(path.parts[-parts:]) for path in resolved]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in resolved]


def _baseline(runs: Sequence[Run]) -> Run | None:
    """The run that paired scores refer to; else the dense run of most steps; else none."""
    fingerprints = [
        score.record.baseline["fingerprint"]
        for run in runs
        for score in run.scores
        if score.record.baseline is not None
    ]
    if fingerprints:
        common = max(set(fingerprints), key=fingerprints.count)
        found = [run for run in runs if run.fingerprint == common]
        if found:
            return found[0]
    dense = [run for run in runs if run.is_dense]
    return max(dense, key=lambda run: run.num_steps, default=None)


def read_run(path: Path, name: str, measured: _Measured) -> Run:
    """Read one run folder, with what an evaluation measured of it."""
    folder = RunFolder.read(path)
    identity = folder.identity
    manifest = read_manifest(folder)
    model = str(folder.settings.get("model") or identity["model"]["name"])
    explanation, unexplained = _explain(model, identity)
    is_dense = not identity["plan"] if measured.kind is None else measured.kind == "dense"
    return Run(
        name=name,
        label=measured.label or name,
        is_dense=is_dense,
        method=_method(identity["plan"]),
        model=model,
        scheduler=identity["scheduler"]["name"],
        num_steps=identity["num_inference_steps"],
        path=path,
        fingerprint=folder.fingerprint,
        identity=identity,
        settings=folder.settings,
        environment=_read_environment(folder.environment),
        num_samples=folder.num_samples,
        records=manifest,
        scores=read_scores(folder.scores),
        latency=_latency(measured.latency),
        speed=speed(manifest.values()),
        macs=_macs(measured, explanation),
        memory=_memory(measured.memory),
        explanation=explanation,
        unexplained=unexplained,
    )


def _explain(model: str, identity: Mapping[str, Any]) -> tuple[Explanation | None, str]:
    """Resolve the run's plan for one image; or say why that can't be done here."""
    try:
        plan = Plan.load(identity["plan"])
        architecture = load_architecture(model)
        workload = Workload(
            num_steps=identity["num_inference_steps"],
            guided=identity["guidance_scale"] > 1,
            latent_size=architecture.latent_size(identity["height"], identity["width"]),
            text_tokens=architecture.default_text_tokens,
        )
        return explain(architecture, plan, workload), ""
    except (PlanError, UnsupportedError) as error:
        return None, str(error)


def _method(plan: Mapping[str, Any]) -> str:
    """``cache: interval``: each family of the plan with the method it names."""
    methods = [
        f"{family}: {_name(config)}"
        for family, entry in plan.items()
        if family != "calibration"  # of a cache that is named already
        for config in (entry if isinstance(entry, list) else [entry])
        if isinstance(config, Mapping)
    ]
    return ", ".join(methods) or "dense"


def _name(config: Mapping[str, Any]) -> Any:
    """The kind of a method; of a cache that of its policy, and its site if that is not `model`."""
    policy, site = config.get("policy"), config.get("site", "model")
    if policy is None:
        return config.get("kind", "?")
    names = [
        part.get("kind", "?") if isinstance(part, Mapping) else part for part in (policy, site)
    ]
    return names[0] if names[1] == "model" else f"{names[0]} ({names[1]})"


def _latency(record: Mapping[str, Any] | None) -> Latency | None:
    """Per image, from the seconds of a whole batch."""
    if not record:
        return None
    images = int(record["images"])
    seconds, spread = record["median_s"] / images, record["iqr_s"] / images
    return Latency(seconds, spread, rounds=len(record["rounds_s"]), batch=images)


def _macs(measured: _Measured, explanation: Explanation | None) -> Macs | None:
    """Counted here where the architecture is known; else what was counted for the timed batch."""
    if explanation is not None:
        return Macs(explanation.cost.macs_plan_lower, explanation.cost.macs_plan)
    if not measured.macs or not measured.latency:
        return None
    images = int(measured.latency["images"])
    return Macs(measured.macs["lower"] / images, measured.macs["upper"] / images)


def _memory(record: Mapping[str, Any] | None) -> Memory | None:
    if not record or record.get("bytes") is None:
        return None
    return Memory(record["bytes"], record["kind"])


def _read_environment(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def class_names(report: Report) -> dict[int, str]:
    """Class names by number, from the pipeline that the runs share; empty where it names none."""
    models = {run.model for run in report.runs}
    names: dict[int, str] = {}
    for model in models if len(models) == 1 else ():
        try:
            labels = pipeline_labels(pipeline_folder(model))
        except DitAccelError:  # made elsewhere: the numbers still say what is what
            continue
        for name, number in labels.items():
            names.setdefault(number, name)
    return names
