"""The loop does not wait for the device, but once a step where samples decide."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from judging import JUDGING
from plans import PLANS, STATIC
from tiny_models import TinyFamily, modes
from torch.utils._python_dispatch import TorchDispatchMode

import dit_accel

READS = {"aten._local_scalar_dense", "aten.equal", "aten.is_nonzero", "aten.nonzero"}


class CountReads(TorchDispatchMode):
    """Counts operators whose result the host has to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket)
        if name in READS:
            self.reads.append(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> CountReads:
    counter = CountReads()
    for name in ("tolist", "numpy", "cpu"):  # these read memory without any operator
        original = getattr(torch.Tensor, name)

        def read(tensor: Any, *args: Any, _original: Any = original, _name: str = name) -> Any:
            counter.reads.append(_name)
            return _original(tensor, *args)

        monkeypatch.setattr(torch.Tensor, name, read)
    return counter


def reads_of_each_step(
    family: TinyFamily,
    plan: dict[str, Any],
    reads: CountReads,
    calls_per_step: int = 1,
    guidance: bool | None = None,
) -> list[int]:
    transformer = dit_accel.accelerate(family.transformer(), plan)
    condition = family.guided_condition((1, 2), torch.float32)
    counts = []
    announced = {"calls_per_step": calls_per_step, "guidance": guidance}
    with torch.no_grad(), dit_accel.run(transformer, 8, **announced):
        for index in range(8):
            latents = torch.randn(2, 4, 8, 8).repeat(2, 1, 1, 1)
            timestep = torch.full((4,), 900.0 - 100 * index)
            before = len(reads.reads)
            with reads:
                for _ in range(calls_per_step):
                    transformer(latents, timestep=timestep, **condition)
            counts.append(len(reads.reads) - before)
    return counts


BY_SAMPLE = ("guidance", "deep_guidance", "tokens", "clusters")
"""Plans that have to know which rows belong to one sample."""


@pytest.mark.parametrize("name", [name for name in STATIC if name != "tome2d"])
def test_static_plans_read_nothing_back(layout: TinyFamily, name: str, reads: CountReads) -> None:
    guidance = True if name in BY_SAMPLE else None
    assert reads_of_each_step(layout, PLANS[name], reads, guidance=guidance) == [0] * 8


@pytest.mark.parametrize("name", BY_SAMPLE)
def test_whether_rows_are_guided_is_looked_at_once_a_run(
    layout: TinyFamily, name: str, reads: CountReads
) -> None:
    counts = reads_of_each_step(layout, PLANS[name], reads)
    assert counts[0] <= 2 and set(counts[1:]) == {0}


def test_a_guard_of_a_static_policy_reads_once_in_a_forecast_step(
    layout: TinyFamily, reads: CountReads
) -> None:
    policy = {"kind": "interval", "interval": 2}
    plan = {"cache": {"policy": policy, "guard": 1000.0}}
    assert reads_of_each_step(layout, plan, reads, guidance=True) == [0, 1, 0, 1, 0, 1, 0, 0]


@pytest.mark.parametrize("name", STATIC)
def test_static_plans_run_on_the_meta_device(layout: TinyFamily, name: str) -> None:
    """Where there is nothing to read: any read raises."""
    transformer = layout.transformer().to("meta")
    dit_accel.accelerate(transformer, PLANS[name])
    condition = layout.guided_condition((1, 2), torch.float32)
    moved = {
        key: {k: v if v is None else v.to("meta") for k, v in value.items()}
        if isinstance(value, dict)
        else value.to("meta")
        for key, value in condition.items()
    }
    with torch.no_grad(), dit_accel.run(transformer, 5):
        for _ in range(5):
            latents, timestep = torch.empty(4, 4, 8, 8), torch.empty(4)
            out = transformer(latents.to("meta"), timestep=timestep.to("meta"), **moved).sample
            assert out.device.type == "meta" and out.shape == (4, 8, 8, 8)


@pytest.mark.parametrize("site", ["model", "block"])
def test_first_block_reads_at_most_once_a_step(
    layout: TinyFamily, site: str, reads: CountReads
) -> None:
    plan = {"cache": {"site": site, "policy": {"kind": "first_block", "threshold": 0.3}}}
    counts = reads_of_each_step(layout, plan, reads)
    assert max(counts[1:]) == 1
    assert counts[0] <= 2  # how the guidance rows lie is looked at once a run


def test_first_block_with_separate_guidance_reads_at_most_once_a_step(
    layout: TinyFamily, reads: CountReads
) -> None:
    plan = {"cache": {"policy": {"kind": "first_block", "threshold": 0.3}}}
    counts = reads_of_each_step(layout, plan, reads, calls_per_step=2)
    assert max(counts[1:]) == 1


@pytest.mark.parametrize("name", JUDGING)
@pytest.mark.parametrize("calls", [1, 2])
def test_other_policies_read_at_most_once_a_step(
    layout: TinyFamily, name: str, calls: int, reads: CountReads
) -> None:
    counts = reads_of_each_step(layout, JUDGING[name], reads, calls)
    assert max(counts[1:]) == 1
    assert counts[0] <= 2  # how the guidance rows lie is looked at once a run


def test_an_observed_pipeline_does_not_read_its_timesteps(
    layout: TinyFamily, reads: CountReads
) -> None:
    pipe = dit_accel.accelerate(layout.pipeline(), PLANS["interval_reuse"])
    pipe.scheduler.set_timesteps(4)
    condition = layout.condition((1,), torch.float32)
    latents = torch.randn(1, 4, 8, 8)
    for timestep in pipe.scheduler.timesteps:
        steps = timestep[None].float()
        with torch.no_grad(), reads:
            out = pipe.transformer(latents, timestep=steps, **condition).sample[:, :4]
        latents = pipe.scheduler.step(out, timestep, latents).prev_sample
    assert reads.reads == []
    assert modes(pipe) == ["all", "none", "all", "all"]
