"""What a plan will do to a run, before anything runs: the step × layer grid and its costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dit_accel.backbones import find_backbone
from dit_accel.measure.architectures import Architecture
from dit_accel.measure.inputs import forward_inputs
from dit_accel.measure.plan_macs import RunCost, Workload, run_cost
from dit_accel.plan import Plan
from dit_accel.program import StepProgram

# Caches hold the residual stream's own dtype; 16 bits is what models are served in.
_CACHE_BYTES_PER_ELEMENT = 2


@dataclass(frozen=True)
class Explanation:
    """A plan resolved for one model and one run.

    ``text_tokens`` are those of one row; ``None`` for a model that reads no text.
    """

    model: str
    plan: Plan
    workload: Workload
    grid: tuple[int, int]
    text_tokens: int | None
    num_layers: int
    cost: RunCost
    cache_elements: int

    @property
    def macs_saved(self) -> float:
        """Dense MACs divided by the plan's (its upper bound where decisions depend on data)."""
        return self.cost.macs_dense / self.cost.macs_plan

    @property
    def cache_bytes(self) -> int:
        """Bytes that the cache holds in a 16-bit run of this batch; twice that in fp32."""
        return self.cache_elements * _CACHE_BYTES_PER_ELEMENT

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form; MACs are of the whole run, guidance rows included."""
        cost = self.cost
        return {
            "model": self.model,
            "plan": self.plan.to_dict(),
            "num_steps": self.workload.num_steps,
            "batch": self.workload.batch,
            "guidance": self.workload.guided,
            "token_grid": list(self.grid),
            "text_tokens": self.text_tokens,
            "num_layers": self.num_layers,
            "macs_per_forward_dense": cost.macs_per_forward_dense,
            "macs_run_dense": cost.macs_dense,
            "macs_run_plan": cost.macs_plan,
            "macs_run_plan_lower": cost.macs_plan_lower,
            "data_dependent": cost.data_dependent,
            "cache_bytes_16bit": self.cache_bytes,
            "steps": [
                {
                    "step": index,
                    "cache": step.program.cache,
                    "macs": step.macs,
                    "macs_lower": step.macs_lower,
                    "layers": [list(cell.labels()) for cell in step.program.cells],
                }
                for index, step in enumerate(cost.steps)
            ],
        }


def explain(architecture: Architecture, plan: Plan, workload: Workload) -> Explanation:
    """Resolve and count ``plan``; nothing is computed and no weights are needed.

    Raises:
        PlanError: the plan does not fit this model or this number of steps.
        UnsupportedError: a latent size that the model cannot take.
    """
    transformer = architecture.build("meta")
    backbone = find_backbone(transformer)
    inputs = forward_inputs(transformer, 1, workload.latent_size, text_tokens=1)
    grid = backbone.grid(transformer, inputs["hidden_states"])
    num_layers = len(backbone.blocks(transformer))
    config = transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    tokens = workload.rows * grid.size * width
    return Explanation(
        model=architecture.name,
        plan=plan,
        workload=workload,
        grid=(grid.height, grid.width),
        text_tokens=workload.text_tokens if architecture.is_text_conditional else None,
        num_layers=num_layers,
        cost=run_cost(architecture, plan, workload),
        cache_elements=_cache_tensors(plan, num_layers) * tokens,
    )


def _cache_tensors(plan: Plan, num_layers: int) -> int:
    """Tensors [rows, N, C] that the cache holds once its history is full."""
    cache: Any = plan.cache
    if cache is None:
        return 0
    # A first-block cache also keeps that block's residual, to compare with.
    first = 1 if cache.per_sample else 0
    return int(cache.snapshots * len(cache.spans(num_layers, first)) + first)


def cell_text(program: StepProgram, layer: int) -> str:
    """What happens in one cell, in the words of its operators; empty where it is dense."""
    per_sample_first = program.cache == "decide" and layer == 0
    state = {"compute": "", "forecast": "forecast", "decide": "decide"}[program.cache]
    if per_sample_first:
        state = ""
    if state == "forecast":
        return state
    return " + ".join([*([state] if state else []), *program.cells[layer].labels()])
