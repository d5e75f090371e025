"""What a plan will do, as data."""

import json

import pytest
from judging import JUDGING
from tiny_models import FAMILIES

import dit_accel
from dit_accel import Plan
from dit_accel.install import installation_of
from dit_accel.measure.architectures import Architecture, load_architecture
from dit_accel.measure.explain import caches_text, cell_text, explain
from dit_accel.measure.plan_macs import Workload

PLAN = {
    "cache": {
        "predictor": {"kind": "polynomial", "order": 1},
        "policy": {"kind": "interval", "interval": 2},
    },
    "density": {"kind": "pooled", "pool": 2, "layers": [4, 8]},
}


def test_grid_of_cells() -> None:
    found = explain(load_architecture("DiT-XL-2-256"), Plan.load(PLAN), Workload(5, batch=3))
    programs = [step.program for step in found.cost.steps]
    assert [program.caches[0] for program in programs] == ["compute", "forecast"] * 2 + ["compute"]
    assert cell_text(programs[0], 3) == "" and cell_text(programs[0], 4) == "pool 8x8"
    assert cell_text(programs[1], 4) == "forecast"
    assert (found.grid, found.num_layers) == ((16, 16), 28)


def test_text_tokens_are_those_of_a_model_that_reads_text() -> None:
    found = explain(load_architecture("PixArt-XL-2-512"), Plan(), Workload(1, text_tokens=24))
    assert found.text_tokens == found.to_dict()["text_tokens"] == 24
    assert explain(load_architecture("DiT-XL-2-256"), Plan(), Workload(1)).text_tokens is None


def test_first_block_decides_after_the_first() -> None:
    plan = Plan.load({"cache": {"policy": "first_block"}})
    found = explain(load_architecture("DiT-XL-2-256"), plan, Workload(3))
    second = found.cost.steps[1].program
    assert (cell_text(second, 0), cell_text(second, 1)) == ("", "decide")


def test_without_guidance_there_is_no_difference_to_forecast() -> None:
    plan = Plan.load({"cache": {"site": "guidance", "policy": "interval"}})
    architecture = load_architecture("DiT-XL-2-256")
    for guided, expected in ((True, "forecast"), (False, "compute")):
        found = explain(architecture, plan, Workload(3, guided=guided))
        assert caches_text(found, found.cost.steps[1].program) == expected
        assert found.to_dict()["steps"][1]["caches"] == [expected]


@pytest.mark.parametrize(("interval", "stray"), [(2, ()), (3, (3,)), (4, ())])
def test_guidance_of_forecast_blocks_is_pointed_out(interval: int, stray: tuple[int, ...]) -> None:
    caches = [
        {"site": "deep", "policy": {"kind": "interval", "interval": 2}},
        {"site": "guidance", "policy": {"kind": "interval", "interval": interval}},
    ]
    architecture, plan = load_architecture("DiT-XL-2-256"), Plan.load({"cache": caches})
    assert explain(architecture, plan, Workload(7)).stray_guidance == stray
    assert explain(architecture, plan, Workload(7, guided=False)).stray_guidance == ()


def test_cache_memory_is_two_snapshots_of_the_residual_stream() -> None:
    found = explain(load_architecture("DiT-XL-2-256"), Plan.load(PLAN), Workload(5, batch=3))
    assert found.cache_bytes == 2 * (2 * 3) * 256 * 1152 * 2


def test_json_keys() -> None:
    found = explain(load_architecture("DiT-XL-2-256"), Plan(), Workload(2, guided=False))
    document = json.loads(json.dumps(found.to_dict()))
    assert document["macs_run_dense"] == 2 * document["macs_per_forward_dense"]
    assert document["macs_run_plan"] == document["macs_run_dense"]
    assert document["data_dependent"] is False
    assert len(document["steps"]) == 2 and len(document["steps"][0]["layers"]) == 28


@pytest.mark.parametrize("name", JUDGING)
def test_memory_of_deciding_caches_is_what_they_hold(name: str) -> None:
    family = FAMILIES["dit"]
    transformer = family.transformer()
    architecture = Architecture("tiny", type(transformer), dict(transformer.config))
    plan = Plan.load(JUDGING[name])
    found = explain(architecture, plan, Workload(4, batch=3, latent_size=(8, 8)))
    dit_accel.accelerate(transformer, plan)
    installation = installation_of(transformer)
    assert installation is not None
    held = []
    with dit_accel.run(transformer, 4, guidance=True):
        for _ in family.steps_of(transformer, steps=4):
            held.append(installation.nbytes)
    counts = 8 * 6  # a number a row or a sample, which explain leaves out
    assert 0 <= max(held) - 2 * found.cache_bytes <= counts  # in float32
