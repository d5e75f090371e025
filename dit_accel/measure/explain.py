"""What a plan will do to a run, before anything runs: the step × layer grid and its costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dit_accel.backbones import find_backbone
from dit_accel.measure.architectures import Architecture
from dit_accel.measure.inputs import forward_inputs
from dit_accel.measure.plan_macs import RunCost, Workload, run_cost
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.policies.policy import CacheAction
from dit_accel.methods.caching.policies.token_policy import TokenPolicy
from dit_accel.methods.caching.predictors.multistep import Multistep
from dit_accel.plan import Plan
from dit_accel.program import StepProgram

# Caches hold the run's own dtype unless told otherwise; 16 bits is what models are served in.
_RUN_BYTES, _FLOAT32_BYTES = 2, 4


@dataclass(frozen=True)
class CacheMemory:
    """What one cache holds once its history is full, in a 16-bit run of this batch."""

    name: str
    nbytes: int


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
    caches: tuple[CacheMemory, ...]

    @property
    def macs_saved(self) -> float:
        """Dense MACs divided by the plan's (its upper bound where decisions depend on data)."""
        return self.cost.macs_dense / self.cost.macs_plan

    def actions(self, program: StepProgram) -> tuple[CacheAction, ...]:
        """What each cache does at a step; without guidance there is no difference to forecast."""
        pairs = zip(self.plan.cache, program.caches, strict=True)
        return tuple(
            "compute" if cache.site.is_guidance and not self.workload.guided else action
            for cache, action in pairs
        )

    @property
    def stray_guidance(self) -> tuple[int, ...]:
        """Steps at which guidance is computed of blocks that are forecast, as far as is known.

        Such a difference is one of two forecasts, and spoils those that are made of it.
        """
        places = [i for i, cache in enumerate(self.plan.cache) if cache.site.is_guidance]
        programs = [step.program for step in self.cost.steps] if self.workload.guided else []
        return tuple(
            step
            for step, program in enumerate(programs)
            if "forecast" in program.layers
            and any(program.caches[place] == "compute" for place in places)
        )

    @property
    def cache_bytes(self) -> int:
        """Bytes that the caches hold in a 16-bit run of this batch; in fp32 twice that, but for
        those that hold float32 anyway."""
        return sum(cache.nbytes for cache in self.caches)

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
            "caches": [{"name": each.name, "bytes_16bit": each.nbytes} for each in self.caches],
            "steps": [
                {
                    "step": index,
                    "caches": list(self.actions(step.program)),
                    "macs": step.macs,
                    "macs_lower": step.macs_lower,
                    "layers": [
                        [*inside, *cell.labels()]
                        for inside, cell in zip(
                            step.program.modules, step.program.cells, strict=True
                        )
                    ],
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
    channels = config.out_channels or config.in_channels
    cells = inputs["hidden_states"][0, 0].numel()
    sizes = _Sizes(
        num_layers,
        grid.size,
        workload.rows,
        width,
        workload.rows * config.in_channels * cells,
        workload.batch * channels * cells,
        architecture.is_text_conditional,
    )
    return Explanation(
        model=architecture.name,
        plan=plan,
        workload=workload,
        grid=(grid.height, grid.width),
        text_tokens=workload.text_tokens if architecture.is_text_conditional else None,
        num_layers=num_layers,
        cost=run_cost(architecture, plan, workload),
        caches=tuple(
            CacheMemory(cache.method, _cache_bytes(cache, sizes, workload.guided))
            for cache in plan.cache
        ),
    )


@dataclass(frozen=True)
class _Sizes:
    """What the memories of this model and run are made of.

    Attributes:
        num_layers: blocks.
        tokens: of one row.
        rows: guidance rows included.
        width: channels of a token.
        latents: elements of the latents of all rows.
        outputs: elements of one output of all images.
        has_text: whether the blocks have a cross-attention.
    """

    num_layers: int
    tokens: int
    rows: int
    width: int
    latents: int
    outputs: int
    has_text: bool


def _cache_bytes(cache: CacheConfig, sizes: _Sizes, guided: bool) -> int:
    """Bytes of one cache."""
    item = _FLOAT32_BYTES if cache.history == "float32" else _RUN_BYTES
    snapshots = cache.snapshots + cache.predictor.inputs
    if cache.site.is_guidance:
        return snapshots * sizes.outputs * item if guided else 0
    if isinstance(cache.predictor, Multistep):
        kept = cache.predictor.snapshots + cache.predictor.differences
        return kept * sizes.latents // (1 + guided) * _FLOAT32_BYTES
    stream = sizes.rows * sizes.tokens * sizes.width
    layers = len(cache.site.module_layers(sizes.num_layers))
    if isinstance(cache.policy, TokenPolicy):
        modules = len(cache.site.modules) - (not sizes.has_text)
        corrected = snapshots > 1  # computed tokens keep how far they are off the trend
        kept = (snapshots * modules + corrected) * layers * stream * item
        return kept + cache.policy.nbytes(layers, sizes.rows, sizes.tokens)
    kept = snapshots * (len(cache.spans(sizes.num_layers)) + layers) * stream * item
    # What a policy compares with: residuals or inputs of blocks; latents and output of all rows.
    compared = {"first_blocks": stream, "input": stream, "latents": 2 * sizes.latents}
    return kept + compared.get(cache.policy.looks_at, 0) * _RUN_BYTES


def cell_text(program: StepProgram, layer: int) -> str:
    """What happens in one cell, in the words of its operators; empty where it is dense."""
    action = program.layers[layer]
    if action == "forecast":
        return action
    decides = [action] if action == "decide" else []
    return " + ".join([*decides, *program.modules[layer], *program.cells[layer].labels()])


def caches_text(explanation: Explanation, program: StepProgram) -> str:
    """What each cache does at a step: the action alone, or with its site if there are several."""
    caches, actions = explanation.plan.cache, explanation.actions(program)
    if len(caches) < 2:
        return actions[0] if caches else "compute"
    pairs = zip(caches, actions, strict=True)
    return ", ".join(f"{cache.site.method} {action}" for cache, action in pairs)
