"""The rows of a frontier: dense runs, plans on them and peers on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dit_accel.adapters.source import find_adapter
from dit_accel.errors import DitAccelError
from dit_accel.evaluation.frontier.config import FrontierConfig
from dit_accel.evaluation.frontier.fitted_plans import fitted_plans
from dit_accel.evaluation.peers.peer import Peer
from dit_accel.exact.config import Exact
from dit_accel.measure.candidates import Base
from dit_accel.plan import Plan
from dit_accel.sampling.identity import file_digest

Kind = Literal["dense", "plan", "peer"]
EXACT = Plan(exact=Exact())


@dataclass(frozen=True)
class Entry:
    """One row; `plan` has the exact rewrites on, whatever the file said.

    Attributes:
        kind: dense, a plan of ours, or a peer.
        label: name of the plan, or of the peer's setting.
        base: solver and steps.
        plan: what is installed; of a peer what is installed below it.
        peer: somebody else's cache.
        calibrated: whether the plan was fitted to this model.
    """

    kind: Kind
    label: str
    base: Base
    plan: Plan
    peer: Peer | None = None
    calibrated: bool = False

    @property
    def name(self) -> str:
        """Unique within a frontier."""
        return f"{self.label}, {self.base}"

    @property
    def setup(self) -> tuple[str, str]:
        """Entries that agree in it differ in their steps alone, and share a pipeline."""
        return self.label if self.peer is not None else self.plan.fingerprint, self.base.solver

    @property
    def decides_by_batch(self) -> bool:
        """Whether pictures of one call would decide for each other."""
        return self.peer is not None and self.peer.per_batch

    def identity(self) -> dict[str, Any]:
        """Everything that decides its pictures, the model and the seeds apart."""
        peer = None if self.peer is None else self.peer.model_dump()
        known = {"base": str(self.base), "plan": self.plan.fingerprint, "peer": peer}
        if self.plan.adapter is None:
            return known
        # Another file may come to lie at the same path.
        return known | {"adapter": file_digest(find_adapter(self.plan.adapter))}


def dense_entry(base: Base) -> Entry:
    """A dense run, with the exact rewrites on."""
    return Entry("dense", "dense", base, EXACT)


def entries_of(config: FrontierConfig) -> list[Entry]:
    """All rows: dense, then plans, those that have been fitted, then peers.

    Raises:
        DitAccelError: a plan that cannot be read, naming its place; or two rows of one name.
    """
    rows = [dense_entry(base) for base in config.dense]
    rows += _plan_entries(config)
    rows += _fitted_entries(config)
    for runs in config.peers:
        rows += [
            Entry("peer", peer.label, base, EXACT, peer)
            for peer in runs.peers
            for base in runs.bases
        ]
    names = [row.name for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise DitAccelError(f"frontier: two rows are called '{name}'; remove one of them")
    return rows


def _plan_entries(config: FrontierConfig) -> Iterator[Entry]:
    for name, runs in config.plans.items():
        try:
            plan = _with_exact(Plan.load(name if runs.plan is None else runs.plan))
        except DitAccelError as error:
            raise DitAccelError(f"plans.{name}: {error}") from None
        for base in runs.bases:
            yield Entry("plan", name, base, plan, calibrated=runs.calibrated)


def _fitted_entries(config: FrontierConfig) -> Iterator[Entry]:
    for fitted in fitted_plans(config):
        if fitted.is_there:
            plan = Plan.load(fitted.folder)
            yield Entry("plan", fitted.label, fitted.base, plan, calibrated=True)


def _with_exact(plan: Plan) -> Plan:
    return plan if plan.exact else plan.model_copy(update={"exact": Exact()})


def fingerprint(document: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of a JSON document."""
    text = json.dumps(document, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
