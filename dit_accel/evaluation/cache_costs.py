"""What the machinery of a cache costs: a forecast step, a plan that never skips, lost speed-up.

All cases of a batch size are timed interleaved, each beside dense in the same round, exact rewrites
on in all of them:

* *forecast step*: with two computed steps of T, a run of relative time q has forecast steps that
  cost r = (q − 2/T) / (1 − 2/T) of a full one, the solver's own work included in both;
* *never skips*: q − 1 of plans that compute every step;
* *efficiency*: 1/q divided by how many times fewer MACs were dispatched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from dit_accel.evaluation.frontier.entries import Entry, dense_entry
from dit_accel.evaluation.frontier.runners import Runners
from dit_accel.exact.config import Exact
from dit_accel.measure.candidates import Base
from dit_accel.measure.provenance import provenance
from dit_accel.measure.timing import Timing, interleaved
from dit_accel.plan import Plan
from dit_accel.sampling.loading import load_pipeline
from dit_accel.sampling.preparing import prepare_sampling
from dit_accel.sampling.sample_config import DataConfig, SampleConfig

Sort = Literal["forecast", "never_skips", "static", "data_dependent"]

BASE = Base("UniPC", 20)
BATCHES = (1, 8)
FORECAST_COMPUTED = 2
"""Steps that a straight line needs before it forecasts."""
GUIDANCE = 1.5
_DEEP = {"kind": "deep", "first": 1}


@dataclass(frozen=True)
class Case:
    """A plan and what it shows."""

    sort: Sort
    name: str
    cache: Any

    @property
    def entry(self) -> Entry:
        """As a row of a frontier."""
        return Entry("plan", self.name, BASE, Plan(exact=Exact(), cache=self.cache))


def _interval(site: Any, interval: int, predictor: str = "polynomial") -> dict[str, Any]:
    policy = {"kind": "interval", "interval": interval}
    return {"site": site, "predictor": predictor, "policy": policy}


def _listed(site: Any) -> dict[str, Any]:
    policy = {"kind": "list", "compute": list(range(FORECAST_COMPUTED))}
    return {"site": site, "policy": policy}


def _first_block(threshold: float) -> dict[str, Any]:
    return {"policy": {"kind": "first_block", "threshold": threshold}}


CASES = (
    Case("forecast", "model", _listed("model")),
    Case("forecast", "deep 1…", _listed(_DEEP)),
    Case("forecast", "block", _listed("block")),
    Case("never_skips", "model, interval 1", _interval("model", 1)),
    Case("never_skips", "deep 1…, interval 1", _interval(_DEEP, 1)),
    Case("never_skips", "block, interval 1", _interval("block", 1)),
    Case("never_skips", "guidance, interval 1", _interval("guidance", 1)),
    Case("never_skips", "first block, threshold 0", _first_block(0.0)),
    Case("static", "model, interval 2", _interval("model", 2)),
    Case("static", "model, interval 4", _interval("model", 4)),
    Case("static", "deep 1…, interval 2", _interval(_DEEP, 2)),
    Case("static", "guidance, interval 2", _interval("guidance", 2, "reuse")),
    Case(
        "static",
        "deep 1…, interval 2, and guidance, interval 4",
        [_interval(_DEEP, 2), _interval("guidance", 4, "reuse")],
    ),
    Case("data_dependent", "first block, threshold 0.05", _first_block(0.05)),
    Case("data_dependent", "first block, threshold 0.1", _first_block(0.1)),
    Case("data_dependent", "first block, threshold 0.2", _first_block(0.2)),
)


@dataclass(frozen=True)
class CostRow:
    """One case at one batch size.

    Attributes:
        sort: what it shows.
        name: of the case.
        batch: pictures.
        seconds: median of the rounds.
        ratios: of each round, its seconds divided by dense's.
        mac_ratio: its MACs divided by dense's.
        nbytes: of the cache.
    """

    sort: Sort
    name: str
    batch: int
    seconds: float
    ratios: tuple[float, ...]
    mac_ratio: float
    nbytes: int

    @property
    def figure(self) -> tuple[float, float, float]:
        """Median and middle half of what the case shows: r, the overhead, or the efficiency."""
        low, middle, high = (self._of(q) for q in np.quantile(self.ratios, [0.25, 0.5, 0.75]))
        return middle, min(low, high), max(low, high)

    def _of(self, ratio: float) -> float:
        if self.sort == "forecast":
            share = FORECAST_COMPUTED / BASE.num_inference_steps
            return float((ratio - share) / (1 - share))
        if self.sort == "never_skips":
            return float(ratio - 1)
        return float(self.mac_ratio / ratio)

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        middle, low, high = self.figure
        return {**vars(self), "ratios": list(self.ratios), "figure": middle, "half": [low, high]}


def total_calls(rounds: int, batches: Sequence[int] = BATCHES) -> int:
    """How often `advance` will be called."""
    return len(batches) * (len(CASES) + 1) * (rounds + 1)


def measure_cache_costs(
    model: str,
    data: DataConfig,
    *,
    rounds: int,
    device: torch.device,
    batches: Sequence[int] = BATCHES,
    advance: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Measure all cases at each batch size; JSON-serialisable.

    Args:
        model: a shipped model, or a pipeline's folder.
        data: where conditions come from.
        rounds: measured rounds, at least 1.
        device: where to run.
        batches: numbers of pictures.
        advance: told what has just finished.

    Raises:
        DitAccelError: the model or its data cannot be used.
    """
    sampling = SampleConfig(
        model=model,
        data=data,
        num_samples=max(batches),
        guidance_scale=GUIDANCE,
        scheduler=BASE.solver,
        num_inference_steps=BASE.num_inference_steps,
    )
    specs = prepare_sampling(sampling).specs
    pipe = load_pipeline(model, "float32", device)
    rows: list[CostRow] = []
    for batch in batches:
        runners = Runners(pipe, specs[:batch], GUIDANCE, batch)
        rows += _rows(runners, batch, rounds, device, advance)
    return {
        "model": model,
        "base": str(BASE),
        "guidance_scale": GUIDANCE,
        "rounds": rounds,
        "rows": [row.to_dict() for row in rows],
        "provenance": provenance(device=str(device)),
    }


def _rows(
    runners: Runners,
    batch: int,
    rounds: int,
    device: torch.device,
    advance: Callable[[str], None],
) -> list[CostRow]:
    dense = dense_entry(BASE)
    entries = {dense.name: dense, **{case.name: case.entry for case in CASES}}
    costs = {}
    for name, entry in entries.items():
        costs[name] = runners.cost(entry)  # which is the warm-up too
        advance(f"batch {batch}, warm-up, {name}")
    calls = {name: partial(runners.timed_run, entry) for name, entry in entries.items()}
    timings = interleaved(calls, rounds, device, lambda name: advance(f"batch {batch}, {name}"))
    return [_row(case, batch, timings, costs, dense.name) for case in CASES]


def _row(
    case: Case,
    batch: int,
    timings: Mapping[str, Timing],
    costs: Mapping[str, tuple[int, int]],
    dense: str,
) -> CostRow:
    macs, nbytes = costs[case.name]
    pairs = zip(timings[case.name].seconds, timings[dense].seconds, strict=True)
    return CostRow(
        sort=case.sort,
        name=case.name,
        batch=batch,
        seconds=timings[case.name].median,
        ratios=tuple(seconds / other for seconds, other in pairs),
        mac_ratio=macs / costs[dense][0],
        nbytes=nbytes,
    )
