"""Modulations: how often the stock modules run, on how many rows, and that they stay right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from exact_runs import TOLERANCE, distance, farthest, rows_through
from tiny_models import NUM_LAYERS, noise

import dit_accel
from dit_accel.exact import block_modulations, single_modulation
from dit_accel.install import installation_of

ONLY = {"exact": {name: False for name in ("text_keys_values", "guidance_rows")}}
STEPS = 6


def share_embedder(transformer: Any) -> Any:
    """As in the checkpoints of DiT: each block holds a copy of one embedder."""
    first = transformer.transformer_blocks[0].norm1.emb.state_dict()
    for block in transformer.transformer_blocks:
        block.norm1.emb.load_state_dict(first)
    return transformer


def run(family: Any, transformer: Any, samples: Any = (1, 2), **kwargs: Any) -> torch.Tensor:
    calls = 2 if kwargs.get("guidance") == "separate" else 1
    with dit_accel.run(transformer, STEPS, calls_per_step=calls):
        latents: torch.Tensor = family.denoise(transformer, samples, steps=STEPS, **kwargs)
    return latents


@pytest.mark.parametrize("shared", [True, False])
def test_a_pipeline_computes_all_steps_at_once(dit: Any, shared: bool) -> None:
    pipe = dit.pipeline()
    if shared:
        share_embedder(pipe.transformer)
    stock = dit.generate(pipe, steps=STEPS)
    norms = [block.norm1 for block in pipe.transformer.transformer_blocks]
    linears = [rows_through(norm.linear) for norm in norms]
    embedders = [rows_through(norm.emb.timestep_embedder) for norm in norms]
    head = rows_through(pipe.transformer.proj_out_1)
    dit_accel.accelerate(pipe, ONLY)
    assert distance(stock, dit.generate(pipe, steps=STEPS)) <= TOLERANCE
    distinct = STEPS * (3 + 1)  # three labels and the null label
    assert [*linears, head] == [[distinct]] * (NUM_LAYERS + 1)
    expected = [[distinct], *[[] if shared else [distinct]] * (NUM_LAYERS - 1)]
    assert embedders == expected
    dit.generate(pipe, steps=STEPS)
    assert linears[0] == [distinct, distinct]


def test_weights_that_come_to_differ_are_noticed(dit: Any) -> None:
    pipe = dit.pipeline(transformer=share_embedder(dit.transformer()))
    dit_accel.accelerate(pipe, ONLY)
    before = dit.generate(pipe)
    with torch.no_grad():
        pipe.transformer.transformer_blocks[2].norm1.emb.timestep_embedder.linear_1.weight.mul_(2)
    after = dit.generate(pipe)
    dit_accel.restore(pipe)
    stock = dit.generate(pipe)
    assert distance(stock, after) <= TOLERANCE < distance(stock, before)


def test_pixart_computes_one_row_a_timestep(pixart: Any) -> None:
    pipe = pixart.pipeline()
    stock = pixart.generate(pipe, steps=STEPS)
    rows = rows_through(pipe.transformer.adaln_single.linear)
    dit_accel.accelerate(pipe, ONLY)
    assert distance(stock, pixart.generate(pipe, steps=STEPS)) <= TOLERANCE
    assert rows == [STEPS]


@pytest.mark.parametrize("guidance", ["batched", "separate"])
def test_a_bare_transformer_computes_the_distinct_rows_of_a_step(dit: Any, guidance: str) -> None:
    transformer = dit.transformer()
    rows = rows_through(transformer.transformer_blocks[1].norm1.linear)
    dit_accel.accelerate(transformer, ONLY)
    run(dit, transformer, guidance=guidance)
    assert rows == ([3] * STEPS if guidance == "batched" else [2, 1] * STEPS)


def test_a_run_that_names_its_timesteps_computes_all_at_once(dit: Any) -> None:
    transformer = dit.transformer()
    rows = rows_through(transformer.transformer_blocks[1].norm1.linear)
    dit_accel.accelerate(transformer, ONLY)
    with dit_accel.run(transformer, torch.tensor([900, 500, 100])), torch.no_grad():
        for step in (900, 500, 100):
            labels = {"class_labels": torch.tensor([5])}
            dit.predict(transformer, noise((1,), (8, 8), torch.float32), step, labels)
    assert rows == [3]


@pytest.mark.parametrize("steps_that_fit", [0, 1, 4, 100])
def test_the_budget_bounds_the_tables(
    dit: Any, monkeypatch: pytest.MonkeyPatch, steps_that_fit: int
) -> None:
    width = 32
    row_bytes = (6 * width * NUM_LAYERS + 2 * width) * 4
    budget = steps_that_fit * 4 * row_bytes
    constructor = block_modulations.BlockModulations.__init__
    monkeypatch.setattr(constructor, "__defaults__", (budget,))
    pipe = dit.pipeline()
    stock = dit.generate(pipe, steps=STEPS)
    rows = rows_through(pipe.transformer.proj_out_1)
    dit_accel.accelerate(pipe, {"exact": {**ONLY["exact"], "fused_projections": False}})
    assert distance(stock, dit.generate(pipe, steps=STEPS)) <= TOLERANCE
    at_once = max(1, min(steps_that_fit, STEPS))
    assert rows[0] == 4 * at_once and sum(rows) == 4 * STEPS
    assert dit_accel.summary(pipe).exact_bytes == 4 * at_once * row_bytes


def test_the_budget_of_pixart(pixart: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    constructor = single_modulation.SingleModulation.__init__
    monkeypatch.setattr(constructor, "__defaults__", (2 * 7 * 36 * 4,))
    pipe = pixart.pipeline()
    rows = rows_through(pipe.transformer.adaln_single.linear)
    dit_accel.accelerate(pipe, ONLY)
    pixart.generate(pipe, steps=STEPS)
    assert rows == [2] * (STEPS // 2)


def test_steps_that_a_cache_forecasts_are_not_computed(dit: Any) -> None:
    cache = {"policy": {"kind": "interval", "interval": 2}}
    pipe = dit.pipeline()
    rows = rows_through(pipe.transformer.transformer_blocks[1].norm1.linear)
    dit_accel.accelerate(pipe, {"cache": cache, **ONLY})
    dit.generate(pipe, samples=(1,), steps=7)
    assert rows == [4 * 2]  # steps 0, 2, 4, 6; the label and the null label


def test_nothing_is_held_after_a_run(family: Any) -> None:
    pipe = dit_accel.accelerate(family.pipeline(), {"exact": {"fused_projections": False}})
    family.generate(pipe)
    installation = installation_of(pipe)
    assert installation is not None and installation.exact is not None
    assert sum(rewrite.nbytes for rewrite in installation.exact._rewrites.values()) == 0


def test_sizes_that_differ_by_row_are_told_apart() -> None:
    from tiny_models import FAMILIES

    alpha = FAMILIES["alpha"]
    transformer, fast = alpha.transformer(), alpha.transformer()
    dit_accel.accelerate(fast, {"exact": True})
    condition = alpha.condition((1, 2), torch.float32)
    condition["added_cond_kwargs"] = {
        "resolution": torch.tensor([[8.0, 8.0], [512.0, 256.0]]),
        "aspect_ratio": torch.tensor([[1.0], [2.0]]),
    }
    latents = noise((1, 2), (8, 8), torch.float32)
    with torch.no_grad():
        outputs = [alpha.predict(model, latents, 500, condition) for model in (transformer, fast)]
    assert distance(*outputs) <= TOLERANCE


def test_weights_that_change_in_mid_run(family: Any) -> None:
    def steps(plan: Any) -> list[torch.Tensor]:
        transformer = dit_accel.accelerate(family.transformer(), plan)
        taken = []
        with dit_accel.run(transformer, list(range(990, 0, -165))):
            for latents in family.steps_of(transformer, (1, 2)):
                taken.append(latents)
                with torch.no_grad():
                    for parameter in transformer.parameters():
                        parameter.mul_(1.01)
        return taken

    assert farthest(steps({}), steps({"exact": True})) <= TOLERANCE
