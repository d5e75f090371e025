"""What a plan did in the last run: counted, not estimated."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from dit_accel.errors import RunError
from dit_accel.install import installation_of, transformer_of
from dit_accel.installation import Installation
from dit_accel.measure.architectures import Architecture
from dit_accel.measure.plan_macs import Workload, run_cost
from dit_accel.methods.cell import Operators
from dit_accel.plan import Plan
from dit_accel.program import resolve_layers
from dit_accel.statistics import Call


@dataclass(frozen=True)
class Summary:
    """Counters of one run; `print` shows them, `to_dict` gives them as JSON.

    Attributes:
        plan: fingerprint of the plan, empty where there is none.
        steps: steps of the run so far.
        rows: batch rows of a transformer call, guidance included.
        computed: share of the (row, step) pairs that were wanted from the cached blocks and
            computed; 1 without a cache.
        computed_padded: the same with the padding of partly computed steps.
        cells: how many (layer, step) cells ran at all.
        pooled_cells: cells that ran on pooled tokens.
        merged_cells: cells with merged tokens in attention or feed-forward.
        downsampled_cells: cells with fewer keys and values.
        cache_bytes: the most bytes the cache held.
        macs_dense: MACs of the same calls without a plan, `None` for a run of unknown length.
        macs: MACs that were done.
    """

    plan: str = ""
    steps: int = 0
    rows: int = 0
    computed: float = 1.0
    computed_padded: float = 1.0
    cells: int = 0
    pooled_cells: int = 0
    merged_cells: int = 0
    downsampled_cells: int = 0
    cache_bytes: int = 0
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
            f" ({self.computed_padded:.1%} with padding), {self.cache_bytes / 2**20:.1f} MiB",
            f"  density    {self.pooled_cells} of {self.cells} cells pooled",
            f"  merge      {self.merged_cells} of {self.cells} cells merged",
            f"  attention  {self.downsampled_cells} of {self.cells} cells down-sampled",
        ]
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
    macs_dense, macs = _macs(transformer_of(target), installation.plan, calls)
    return Summary(
        plan=installation.plan.fingerprint,
        steps=calls[-1].position.step + 1,
        rows=calls[0].rows,
        computed=_share(call.needed_share for call in calls),
        computed_padded=_share(call.computed_rows / call.rows for call in calls),
        cache_bytes=installation.statistics.cache_bytes,
        macs_dense=macs_dense,
        macs=macs,
        **_cell_counts(installation, calls),
    )


def _share(values: Iterable[float]) -> float:
    return statistics.fmean(values)


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


def _cells_that_ran(plan: Plan, num_layers: int, call: Call) -> tuple[Operators, ...]:
    layers = resolve_layers(plan, num_layers, call.position, call.grid)
    return layers if call.mode != "none" else layers[: call.first_cached]


def _macs(transformer: Any, plan: Plan, calls: list[Call]) -> tuple[int | None, int | None]:
    """MACs of the calls, dense and as they were done; each branch of guidance is a run."""
    first = calls[0]
    steps = first.position.num_steps
    if steps is None or any(call.rows != first.rows for call in calls):
        return None, None
    architecture = Architecture("summary", type(transformer), dict(transformer.config))
    patch = transformer.config.patch_size
    latent_size = (first.grid.height * patch, first.grid.width * patch)
    workload = Workload(steps, first.rows, False, latent_size, first.text_tokens)
    cost = run_cost(architecture, plan, workload)
    dense = cost.macs_per_forward_dense * first.rows * len(calls)
    done = 0
    for call in calls:
        step = cost.steps[call.position.step]
        share = call.computed_rows / call.rows if cost.data_dependent else 1
        done += round(step.macs_lower + share * (step.macs - step.macs_lower))
    return dense, done
