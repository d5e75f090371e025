"""Where the numbers come from: settings and machines, and the networks behind the scores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dit_accel.errors import show
from dit_accel.reporting.run_report.model import Report, Run

_LONGEST = 160


@dataclass(frozen=True)
class Facts:
    """What all runs share, said once, and what differs, run by run."""

    shared: tuple[tuple[str, str], ...]
    varying: tuple[str, ...]
    rows: tuple[tuple[Run, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Tool:
    """A network or a set of pictures that scores were made with."""

    role: str
    name: str
    sha256: str
    detail: str


def run_facts(report: Report) -> Facts:
    """Fingerprint, identity, settings and environment of every run, flattened."""
    facts = [_facts(run) for run in report.runs]
    keys = list(dict.fromkeys(key for fact in facts for key in fact))
    values = {key: [fact.get(key, "–") for fact in facts] for key in keys}
    varying = [key for key in keys if len(set(values[key])) > 1]
    return Facts(
        shared=tuple((key, values[key][0]) for key in keys if key not in varying),
        varying=tuple(varying),
        rows=tuple(
            (run, tuple(fact.get(key, "–") for key in varying))
            for run, fact in zip(report.runs, facts, strict=True)
        ),
    )


def _facts(run: Run) -> dict[str, str]:
    settings = {f"launch {key}": value for key, value in flatten(run.settings).items()}
    return {
        "fingerprint": run.fingerprint[:16],
        # The solver's name is enough here: all its settings are in the record below.
        **flatten({**run.identity, "scheduler": run.scheduler}),
        **settings,
        **flatten(run.environment),
    }


def flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted keys to short texts; a plan stays in one piece, and long lists are cut."""
    flat: dict[str, str] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and key != "plan":
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value if isinstance(value, str) else show(value, _LONGEST)
    return {
        key: text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
        for key, text in flat.items()
    }


def tools(report: Report) -> tuple[Tool, ...]:
    """Every extractor and every reference that a score of these runs names, once each."""
    records = [score.record for run in report.runs for score in run.scores]
    found = [
        *(_tool("extractor", record.extractor, ("version", "resize")) for record in records),
        *(_tool("reference", record.reference, ("n",)) for record in records),
    ]
    return tuple(dict.fromkeys(tool for tool in found if tool is not None))


def _tool(role: str, record: Mapping[str, Any] | None, details: Iterable[str]) -> Tool | None:
    if not record:
        return None
    detail = ", ".join(f"{key} {record[key]}" for key in details if record.get(key) is not None)
    return Tool(role, str(record.get("name")), str(record.get("sha256")), detail)


def documents(report: Report) -> list[tuple[str, str]]:
    """Title and JSON of everything that was recorded, for those who want all of it."""
    parts: list[tuple[str, Mapping[str, Any]]] = [
        (
            run.label,
            {
                "fingerprint": run.fingerprint,
                "identity": run.identity,
                "settings": run.settings,
                "environment": run.environment,
            },
        )
        for run in report.runs
    ]
    if report.provenance:
        parts.insert(0, ("measurement", report.provenance))
    return [(title, json.dumps(part, indent=2, ensure_ascii=False)) for title, part in parts]
