"""What a finished journal says of each row: a time, a cost and three fidelities."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dit_accel.evaluation.frontier.entries import Entry
from dit_accel.evaluation.frontier.journal import Decibels, Quality, Round
from dit_accel.metrics.mean_interval import mean_interval


@dataclass(frozen=True)
class Fidelity:
    """PSNR in dB over the seeds.

    Attributes:
        mean: infinite where a picture is identical.
        low, high: 95 % interval of the mean, Student's t; the mean itself where it is infinite.
        seeds: of each; `None` where the pictures are identical.
    """

    mean: float
    low: float
    high: float
    seeds: Decibels

    @classmethod
    def of(cls, seeds: Decibels) -> Fidelity:
        """From the values of two seeds or more."""
        finite = [value for value in seeds if value is not None]
        if len(finite) < len(seeds):
            return cls(math.inf, math.inf, math.inf, seeds)
        interval = mean_interval(finite)
        return cls(statistics.fmean(finite), interval.low, interval.high, seeds)

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form; infinities become `None`."""
        exact = math.isinf(self.mean)
        ends = [None, None] if exact else [self.low, self.high]
        return {"db": None if exact else self.mean, "interval": ends, "seeds": list(self.seeds)}


@dataclass(frozen=True)
class FrontierPoint:
    """One row of the frontier.

    Attributes:
        entry: what it is.
        seconds: median over the rounds, of the timed batch.
        ratio: median over the rounds of its seconds and the reference's in the same round.
        ratio_spread: the middle half of these.
        forwards: MACs, as forwards of its own dense run.
        macs: of the timed batch.
        nbytes: of the cache, of the timed batch.
        converged, reference: fidelity to these runs.
        own: fidelity to dense of the same solver and steps; `None` for dense rows.
    """

    entry: Entry
    seconds: float
    ratio: float
    ratio_spread: tuple[float, float]
    forwards: float
    macs: int
    nbytes: int
    converged: Fidelity
    reference: Fidelity
    own: Fidelity | None

    @property
    def speed_up(self) -> float:
        """Over the reference."""
        return 1 / self.ratio


def points_of(
    entries: Sequence[Entry],
    quality: Mapping[str, Quality],
    rounds: Sequence[Round],
    reference: str,
) -> list[FrontierPoint]:
    """Join what was measured; every row has its quality and one round or more.

    Args:
        entries: the rows, dense ones included.
        quality: by name of the row.
        rounds: as `Journal.rounds` gives them.
        reference: name of the row that times are relative to.
    """
    dense = {entry.base: quality[entry.name].macs for entry in entries if entry.kind == "dense"}
    return [
        _point(entry, quality[entry.name], rounds, reference, dense[entry.base])
        for entry in entries
    ]


def _point(
    entry: Entry, quality: Quality, rounds: Sequence[Round], reference: str, own_macs: int
) -> FrontierPoint:
    timed = [each.seconds for each in rounds if entry.name in each.seconds]
    # A process always times the reference too; only a changed config can have taken it away.
    ratios = [each[entry.name] / each[reference] for each in timed if reference in each]
    low, middle, high = (float(value) for value in np.quantile(ratios, [0.25, 0.5, 0.75]))
    return FrontierPoint(
        entry=entry,
        seconds=statistics.median(each[entry.name] for each in timed),
        ratio=middle,
        ratio_spread=(low, high),
        forwards=entry.base.num_inference_steps * quality.macs / own_macs,
        macs=quality.macs,
        nbytes=quality.nbytes,
        converged=Fidelity.of(quality.to_converged),
        reference=Fidelity.of(quality.to_reference),
        own=None if quality.to_own is None else Fidelity.of(quality.to_own),
    )
