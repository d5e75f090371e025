"""Values that several commands read from the command line."""

from __future__ import annotations

from collections.abc import Iterable

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
