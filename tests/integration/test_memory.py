"""Caches report their bytes, and give them back."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from plans import PLANS
from tiny_models import FAMILIES, NUM_LAYERS, TinyFamily

import dit_accel
from dit_accel.install import installation_of

WIDTH = {"dit": 32, "alpha": 36}


def held(family: TinyFamily, cache: dict[str, Any], calls: int = 1) -> int:
    """Most bytes held in a run of eight steps of four rows."""
    transformer = dit_accel.accelerate(family.transformer(), {"cache": cache})
    guidance = "separate" if calls == 2 else "batched"
    samples = (1, 2, 3, 4) if calls == 2 else (1, 2)
    with dit_accel.run(transformer, timesteps=8, calls_per_step=calls):
        family.denoise(transformer, samples, steps=8, guidance=guidance)
    installation = installation_of(transformer)
    assert installation is not None
    return installation.statistics.cache_bytes


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("site", ["model", "block"])
@pytest.mark.parametrize(
    ("predictor", "snapshots"),
    [("reuse", 1), ({"kind": "polynomial", "order": 0}, 1), ({"kind": "adams", "order": 2}, 3)],
)
@pytest.mark.parametrize("policy", ["interval", "first_block"])
def test_cache_bytes_are_the_closed_formula(
    layout: TinyFamily, policy: str, predictor: Any, snapshots: int, site: str, calls: int
) -> None:
    tensor = 4 * 64 * WIDTH[layout.name] * 4  # rows x tokens x channels x bytes of float32
    blocks = NUM_LAYERS - (policy == "first_block")
    spans = 1 if site == "model" else blocks
    reference = policy == "first_block"
    cache = {"policy": policy, "predictor": predictor, "site": site}
    # The first guidance call decides for both, by what the first block added when it last ran.
    expected = tensor * (calls * spans * snapshots + reference)
    assert held(layout, cache, calls) == expected


def test_a_plan_without_a_cache_holds_nothing(layout: TinyFamily) -> None:
    pipe = dit_accel.accelerate(layout.pipeline(), PLANS["tome2d"])
    layout.generate(pipe)
    installation = installation_of(pipe)
    assert installation is not None and installation.statistics.cache_bytes == 0


def test_snapshots_own_their_memory_and_no_graph(layout: TinyFamily) -> None:
    """A view into a larger tensor, or an autograd graph, would keep more alive than reported."""
    transformer = dit_accel.accelerate(layout.transformer(), PLANS["first_block"])
    installation = installation_of(transformer)
    assert installation is not None
    with dit_accel.run(transformer, timesteps=6):
        for _ in layout.steps_of(transformer):
            for cache in installation._caches._runs.values():
                for ring in cache.memory.rings.values():
                    assert ring.start is None and ring.pending is None
                    assert ring.buffer is not None and ring.buffer.grad_fn is None
                    assert ring.buffer.untyped_storage().nbytes() == ring.buffer.nbytes


@pytest.mark.parametrize(
    ("key", "keep"), [("dit", "nothing"), ("alpha", "scheduler"), ("alpha", "transformer")]
)
def test_a_deleted_pipeline_frees_its_installation(key: str, keep: str) -> None:
    layout = FAMILIES[key]
    pipe = dit_accel.accelerate(layout.pipeline(), PLANS["combined"])
    layout.generate(pipe)
    kept = getattr(pipe, keep, None)
    pipeline, installation = weakref.ref(pipe), weakref.ref(installation_of(pipe))
    block = weakref.ref(pipe.transformer.transformer_blocks[0])
    del pipe
    for _ in range(3):
        gc.collect()
    assert pipeline() is None
    if keep == "transformer":
        assert installation() is not None and kept is not None
    else:
        assert installation() is None and block() is None
    if keep == "scheduler":  # and the scheduler goes on to work
        kept.set_timesteps(3)
        latents = torch.randn(1, 4, 8, 8)
        assert kept.step(latents, kept.timesteps[0], latents).prev_sample.isfinite().all()
