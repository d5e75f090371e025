"""Measure what has not been measured yet: pictures and costs row by row, then rounds of times."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dit_accel.evaluation.frontier.entries import Entry
from dit_accel.evaluation.frontier.journal import Journal, Quality, Round
from dit_accel.evaluation.frontier.prepare import PreparedFrontier
from dit_accel.evaluation.frontier.references import References, decibels
from dit_accel.evaluation.frontier.runners import Runners
from dit_accel.measure.provenance import provenance
from dit_accel.measure.timing import interleaved
from dit_accel.sampling.loading import default_device, load_pipeline

JOURNAL = "frontier.jsonl"
Advance = Callable[[str], None]


class FrontierRun:
    """What is still to be measured of a frontier, and how.

    Args:
        prepared: the frontier.
    """

    def __init__(self, prepared: PreparedFrontier) -> None:
        self.prepared, self.device = prepared, default_device()
        self.journal = Journal(prepared.folder / JOURNAL)
        self.quality_keys = {row.name: prepared.quality_key(row) for row in prepared.entries}
        machine = self._machine()
        self.timing_keys = {row.name: prepared.timing_key(row, machine) for row in prepared.entries}

    def _machine(self) -> dict[str, Any]:
        known = provenance()
        return {"device": str(self.device), "threads": known["threads"], **known["hardware"]}

    def pending_quality(self) -> list[Entry]:
        """Rows without pictures and cost."""
        done = self.journal.quality(self.quality_keys)
        return [row for row in self.prepared.entries if row.name not in done]

    def pending_rounds(self) -> dict[str, int]:
        """Rounds that are missing, by name of the row."""
        counts = dict.fromkeys(self.timing_keys, self.prepared.config.rounds)
        for done in self.journal.rounds(self.timing_keys):
            for name in done.seconds:
                counts[name] -= 1
        return {name: count for name, count in counts.items() if count > 0}

    @property
    def total(self) -> int:
        """Calls of `advance` that are to come."""
        rounds = self.pending_rounds()
        timed = sum(len(self._in_round(rounds, index)) for index in range(_most(rounds)))
        warm_up = len(self._in_round(rounds, 0)) if rounds else 0
        return len(self.pending_quality()) + warm_up + timed

    def measure(self, advance: Advance = lambda name: None) -> None:
        """Do all of it; what is done is in the journal, whatever happens next."""
        quality, rounds = self.pending_quality(), self.pending_rounds()
        if not quality and not rounds:
            return
        config = self.prepared.config
        pipe = load_pipeline(config.model, config.dtype, self.device)
        runners = Runners(pipe, self.prepared.timed_specs, config.guidance_scale, config.batch_size)
        references = References(self.prepared, runners)
        record = provenance(device=str(self.device), command=self.prepared.command)
        for entry in quality:
            self.journal.append(self._quality(entry, runners, references, record))
            advance(entry.name)
        self._time(runners, rounds, record, advance)

    def _quality(
        self, entry: Entry, runners: Runners, references: References, record: Mapping[str, Any]
    ) -> Quality:
        config, specs = self.prepared.config, self.prepared.specs
        own = references.images(entry.base)
        images = own if entry.kind == "dense" else runners.images(entry, specs)
        macs, nbytes = runners.cost(entry)
        return Quality(
            entry=entry.name,
            key=self.quality_keys[entry.name],
            to_converged=decibels(images, references.images(config.converged)),
            to_reference=decibels(images, references.images(config.reference)),
            to_own=None if entry.kind == "dense" else decibels(images, own),
            macs=macs,
            nbytes=nbytes,
            provenance=record,
        )

    def _time(
        self,
        runners: Runners,
        pending: Mapping[str, int],
        record: Mapping[str, Any],
        advance: Advance,
    ) -> None:
        """Rounds of what lacks them, the reference always among them, each kept when complete."""
        process = uuid.uuid4().hex
        for index in range(_most(pending)):
            rows = self._in_round(pending, index)
            if index == 0:
                for entry in rows:
                    runners.timed_run(entry)
                    advance(f"warm-up, {entry.name}")
            ordered = rows[:: 1 if index % 2 == 0 else -1]
            calls = {entry.name: partial(runners.timed_run, entry) for entry in ordered}
            timings = interleaved(calls, 1, self.device, advance)
            seconds = {name: timing.seconds[0] for name, timing in timings.items()}
            keys = {name: self.timing_keys[name] for name in seconds}
            self.journal.append(Round(process, seconds, keys, record))

    def _in_round(self, pending: Mapping[str, int], index: int) -> list[Entry]:
        """Rows that lack more than `index` rounds, and the reference, which times relate to."""
        reference = self.prepared.config.reference
        return [
            row
            for row in self.prepared.entries
            if pending.get(row.name, 0) > index or (row.kind == "dense" and row.base == reference)
        ]


def _most(pending: Mapping[str, int]) -> int:
    return max(pending.values(), default=0)
