"""Values that several commands read from the command line."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from dit_accel.plan import Plan


def load_plan(source: str | None) -> Plan:
    """The plan of ``--plan``: a preset's name or a YAML path; empty where it was not given.

    Raises:
        PlanError: it is neither, or the plan is refused.
    """
    return Plan() if source is None else Plan.load(source)


def load_plans(sources: Iterable[str]) -> dict[str, Plan]:
    """Plans by the name they were asked for; every value may hold several, separated by spaces.

    Raises:
        PlanError: as ``load_plan``.
    """
    names = [name for source in sources for name in source.replace(",", " ").split()]
    return {name: Plan.load(name) for name in dict.fromkeys(names)}


def command_line(
    name: str, config: Path, assignments: Sequence[str], report: Path | None, *flags: str
) -> str:
    """The command that makes a report again, as reports state it.

    Paths below the working directory are given from there: a report that is published tells nothing
    of the machine that it was made on.
    """
    words = ["dit-accel", name, _from_here(config)]
    words += [part for change in assignments for part in ("--set", change)]
    words += [] if report is None else ["--report", _from_here(report)]
    return shlex.join([*words, *flags])


def _from_here(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
