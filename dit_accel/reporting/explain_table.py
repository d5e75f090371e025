"""The figures of an explanation, as a table."""

from __future__ import annotations

from rich.table import Table

from dit_accel.measure.explain import Explanation
from dit_accel.reporting import units


def explain_table(explanation: Explanation) -> Table:
    """Model, run and MACs: per forward, per run dense, per run with the plan."""
    workload, cost = explanation.workload, explanation.cost
    rows = "with guidance rows" if workload.guided else "no guidance"
    table = Table(show_header=False, box=None, padding=(0, 2), pad_edge=False)
    table.add_row("model", explanation.model)
    height, width = explanation.grid
    table.add_row("tokens", f"{height} × {width}, {explanation.num_layers} layers")
    if explanation.text_tokens is not None:
        table.add_row("text", f"{explanation.text_tokens} tokens a row")
    table.add_row("run", f"{workload.num_steps} steps, batch {workload.batch}, {rows}")
    table.add_row("forward, dense", f"{units.macs(cost.macs_per_forward_dense)} MACs (one row)")
    table.add_row("run, dense", f"{units.macs(cost.macs_dense)} MACs")
    table.add_row("run, plan", _plan_macs(explanation))
    if explanation.plan.exact:
        table.add_row("exact", ", ".join(explanation.plan.exact.names))
    table.add_row("cache memory", f"{units.memory(explanation.cache_bytes)} (16-bit)")
    if len(explanation.caches) > 1:
        for cache in explanation.caches:
            table.add_row("", f"{units.memory(cache.nbytes)} {cache.name}")
    if explanation.stray_guidance:
        steps = ", ".join(map(str, explanation.stray_guidance))
        table.add_row(
            "beware",
            f"guidance is computed where blocks are forecast, in the steps {steps}: let both be"
            " computed in the same steps (docs/caching.md)",
        )
    return table


def _plan_macs(explanation: Explanation) -> str:
    cost = explanation.cost
    upper = f"{units.macs(cost.macs_plan)} MACs ({explanation.macs_saved:.2f}× fewer)"
    if not cost.data_dependent:
        return upper
    return (
        f"at most {upper}, at least {units.macs(cost.macs_plan_lower)}: "
        "the cache decides by the data, sample by sample"
    )
