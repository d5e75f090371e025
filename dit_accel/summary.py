"""What a plan did in the last run: counted, not estimated."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from dit_accel.errors import RunError
from dit_accel.install import installation_of, transformer_of
from dit_accel.integration.installation import Installation
from dit_accel.integration.statistics import Call
from dit_accel.measure.architectures import Architecture
from dit_accel.measure.plan_macs import Workload, run_cost
from dit_accel.methods.cell import Operators
from dit_accel.plan import Plan
from dit_accel.program import resolve_layers
from dit_accel.reporting.units import memory


@dataclass(frozen=True)
class CacheCounts:
    """What one cache of the plan did.

    Attributes:
        name: its site, predictor and policy.
        computed: share of the (row, step) pairs that were wanted from its site and computed; at
            site `guidance` of unconditional rows.
        computed_padded: the same with the padding of partly computed steps.
        sample_steps: for each sample, in how many calls it was computed there.
        calls: of how many.
        guarded: (sample, step) pairs that were computed because a forecast could not be trusted.
    """

    name: str
    computed: float
    computed_padded: float
    sample_steps: tuple[int, ...]
    calls: int
    guarded: int

    def __str__(self) -> str:
        steps = ", ".join(map(str, self.sample_steps))
        text = (
            f"{self.name}: {self.computed:.1%} of the row-steps computed"
            f" ({self.computed_padded:.1%} with padding); by sample {steps} of {self.calls}"
        )
        return text if not self.guarded else f"{text}; {self.guarded} by the guard"


@dataclass(frozen=True)
class Summary:
    """Counters of one run; `print` shows them, `to_dict` gives them as JSON.

    Attributes:
        plan: fingerprint of the plan, empty where there is none.
        steps: steps of the run so far.
        rows: batch rows of a transformer call, guidance included.
        computed: share of the (row, step) pairs that were wanted from the caches' sites and
            computed, the mean over the caches; 1 without a cache.
        computed_padded: the same with the padding of partly computed steps.
        caches: the same for each cache that was at work, and for each sample.
        cells: how many (layer, step) cells ran at all.
        pooled_cells: cells that ran on pooled tokens.
        merged_cells: cells with merged tokens in attention or feed-forward.
        downsampled_cells: cells with fewer keys and values.
        cache_bytes: the most bytes the caches held.
        exact: the exact rewrites that this model has work for.
        exact_bytes: the most bytes they held; stacked weights, modulations, text keys and values.
        macs_dense: MACs of the same calls without a plan, `None` for a run of unknown length.
        macs: MACs that were done.
    """

    plan: str = ""
    steps: int = 0
    rows: int = 0
    computed: float = 1.0
    computed_padded: float = 1.0
    caches: tuple[CacheCounts, ...] = ()
    cells: int = 0
    pooled_cells: int = 0
    merged_cells: int = 0
    downsampled_cells: int = 0
    cache_bytes: int = 0
    exact: tuple[str, ...] = ()
    exact_bytes: int = 0
    macs_dense: int | None = None
    macs: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """All counters as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.plan:
            return "no plan is in place: every step is dense"
        lines = [
            f"plan {self.plan}: {self.steps} steps x {self.rows} rows",
            f"  cache      {self.computed:.1%} of the row-steps computed"
            f" ({self.computed_padded:.1%} with padding), {memory(self.cache_bytes)}",
            *(f"             {cache}" for cache in self.caches),
            f"  density    {self.pooled_cells} of {self.cells} cells pooled",
            f"  merge      {self.merged_cells} of {self.cells} cells merged",
            f"  attention  {self.downsampled_cells} of {self.cells} cells down-sampled",
        ]
        if self.exact:
            lines.append(f"  exact      {', '.join(self.exact)}; {memory(self.exact_bytes)}")
        if self.macs and self.macs_dense:
            saved = 1 - self.macs / self.macs_dense
            lines.append(f"  MACs       {self.macs / 1e9:.1f} G, {saved:.1%} saved")
        return "\n".join(lines)


def summary(target: Any) -> Summary:
    """Counters of the run that is under way on `target`, or else of its last one.

    Args:
        target: an accelerated pipeline or transformer.

    Raises:
        RunError: the plan in place has not run yet.
    """
    installation = installation_of(target)
    if installation is None:
        return Summary()
    calls = installation.statistics.calls
    if not calls:
        raise RunError(
            "summary: the plan in place has not run yet; call the pipeline first, then summary"
        )
    installation.statistics.settle(installation.nbytes)
    exact = installation.exact
    macs_dense, macs = _macs(transformer_of(target), installation.plan, calls)
    return Summary(
        plan=installation.plan.fingerprint,
        steps=calls[-1].position.step + 1,
        rows=calls[0].rows,
        computed=_share(site.needed_share for call in calls for site in call.sites),
        computed_padded=_share(site.computed_share for call in calls for site in call.sites),
        caches=tuple(_cache_counts(installation.plan, calls)),
        cache_bytes=installation.statistics.cache_bytes,
        exact=() if exact is None else exact.names,
        exact_bytes=0 if exact is None else exact.most_bytes,
        macs_dense=macs_dense,
        macs=macs,
        **_cell_counts(installation, calls),
    )


def _share(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.fmean(found) if found else 1.0


def _cache_counts(plan: Plan, calls: list[Call]) -> Iterator[CacheCounts]:
    for index, cache in enumerate(plan.cache):
        sites = [site for call in calls for site in call.sites if site.cache == index]
        if not sites:
            continue
        # Before a scheduler has stepped, two prompts may have passed for one sample.
        most = max(len(site.needed) for site in sites)
        needed = [site.needed * (most // len(site.needed)) for site in sites]
        yield CacheCounts(
            name=cache.method,
            computed=_share(site.needed_share for site in sites),
            computed_padded=_share(site.computed_share for site in sites),
            sample_steps=tuple(map(sum, zip(*needed, strict=True))),
            calls=len(sites),
            guarded=sum(sum(site.guarded) for site in sites),
        )


def _cell_counts(installation: Installation, calls: list[Call]) -> dict[str, int]:
    cells = [
        operators
        for call in calls
        for operators in _cells_that_ran(installation.plan, installation.num_layers, call)
    ]
    return {
        "cells": len(cells),
        "pooled_cells": sum(cell.density is not None for cell in cells),
        "merged_cells": sum(
            cell.merge_attention is not None or cell.merge_feed_forward is not None
            for cell in cells
        ),
        "downsampled_cells": sum(cell.attention is not None for cell in cells),
    }


def _cells_that_ran(plan: Plan, num_layers: int, call: Call) -> list[Operators]:
    layers = resolve_layers(plan, num_layers, call.position, call.grid)
    absent = call.skipped_layers
    return [operators for layer, operators in enumerate(layers) if layer not in absent]


def _macs(transformer: Any, plan: Plan, calls: list[Call]) -> tuple[int | None, int | None]:
    """MACs of the calls, dense and as they were done; each branch of guidance is a run."""
    first = calls[0]
    steps = first.position.num_steps
    if steps is None or any(call.rows != first.rows for call in calls):
        return None, None
    architecture = Architecture("summary", type(transformer), dict(transformer.config))
    patch = transformer.config.patch_size
    latent_size = (first.grid.height * patch, first.grid.width * patch)
    guided = any(plan.cache[site.cache].site.is_guidance for site in first.sites)
    guided |= plan.calibration is not None and plan.calibration.guided
    batch = first.rows // 2 if guided else first.rows
    workload = Workload(steps, batch, guided, latent_size, first.text_tokens)
    cost = run_cost(architecture, plan, workload)
    dense = cost.macs_per_forward_dense * first.rows * len(calls)
    done = 0
    for call in calls:
        step = cost.steps[call.position.step]
        deciding = (site for site in call.sites if plan.cache[site.cache].per_sample)
        share = next((site.computed_share for site in deciding), 1.0)
        done += round(step.macs_lower + share * (step.macs - step.macs_lower))
    return dense, done
