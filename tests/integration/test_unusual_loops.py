"""Loops that nobody planned for: shared noise, copies, schedulers that never step."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from tiny_models import TinyFamily

import dit_accel
from dit_accel.errors import PlanError, RunError, UnsupportedError
from dit_accel.install import installation_of

FIRST_BLOCK = {"cache": {"policy": {"kind": "first_block", "threshold": 0.2}}}
INTERVAL = {"cache": {"policy": {"kind": "interval", "interval": 2}}}


class Holder:
    """As much of a pipeline as `accelerate` looks at."""

    def __init__(self, transformer: Any) -> None:
        self.transformer, self.scheduler = transformer, DDIMScheduler()


@pytest.fixture
def transformer(layout: TinyFamily) -> Any:
    return layout.transformer(num_layers=3)


@pytest.fixture
def call(layout: TinyFamily) -> Callable[..., torch.Tensor]:
    """A call of all rows from one noise, each with a condition of its own or none with any."""

    @torch.no_grad()
    def of_one_noise(
        transformer: Any, timestep: int, rows: int = 2, unconditional: bool = False
    ) -> torch.Tensor:
        latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        dtype = torch.float32
        condition = (
            layout.null(rows, dtype) if unconditional else layout.condition(range(rows), dtype)
        )
        return layout.predict(transformer, latents.repeat(rows, 1, 1, 1), timestep, condition)

    return of_one_noise


def test_separate_guidance_from_one_noise_decides_as_the_first_call_does(
    transformer: Any, call: Any
) -> None:
    dit_accel.accelerate(transformer, FIRST_BLOCK)
    with dit_accel.run(transformer, 4, calls_per_step=2):
        for timestep in (900, 700, 500, 300):
            call(transformer, timestep, rows=4)
            call(transformer, timestep, rows=4, unconditional=True)
    calls = installation_of(transformer).statistics.calls
    assert [a.sites[0].needed for a in calls[::2]] == [b.sites[0].needed for b in calls[1::2]]


def test_an_odd_number_of_rows_is_no_guidance(transformer: Any, call: Any) -> None:
    dit_accel.accelerate(transformer, INTERVAL)
    with (
        pytest.raises(RunError, match="guidance: 3 rows"),
        dit_accel.run(transformer, 4, guidance=True),
    ):
        call(transformer, 900, rows=3)


def test_a_scheduler_that_never_steps_holds_no_memory(transformer: Any, call: Any) -> None:
    holder = dit_accel.accelerate(Holder(transformer), INTERVAL)
    holder.scheduler.set_timesteps(20)
    for timestep in range(950, 0, -50):
        call(transformer, timestep)
    installation = installation_of(holder)
    modes = [entry.sites[0].mode for entry in installation.statistics.calls]
    assert "none" in modes and len(installation._caches._runs) == 1


def test_a_copy_is_refused_until_it_is_restored(transformer: Any, call: Any) -> None:
    dense = call(transformer, 500)
    holder = dit_accel.accelerate(Holder(transformer), INTERVAL)
    twin = copy.deepcopy(holder)
    with pytest.raises(UnsupportedError, match="copy"):
        call(twin.transformer, 500)
    dit_accel.restore(twin)
    assert torch.equal(call(twin.transformer, 500), dense)
    assert installation_of(holder) is not None
    dit_accel.restore(holder)
    assert torch.equal(call(transformer, 500), dense)


def test_an_observed_scheduler_can_be_pickled(transformer: Any) -> None:
    holder = dit_accel.accelerate(Holder(transformer), INTERVAL)
    loaded = pickle.loads(pickle.dumps(holder.scheduler))
    loaded.set_timesteps(7)
    assert len(loaded.timesteps) == 7 and len(holder.scheduler.timesteps) != 7


def test_a_refused_plan_leaves_the_former_one_in_place(transformer: Any) -> None:
    holder = dit_accel.accelerate(Holder(transformer), INTERVAL)
    former = installation_of(holder).plan
    with pytest.raises(PlanError), dit_accel.accelerated(holder, {"cache": {"policy": "nothing"}}):
        pass
    assert installation_of(holder).plan == former


def test_the_scoped_form_on_the_transformer_gives_the_pipeline_its_plan_back(
    transformer: Any,
) -> None:
    holder = dit_accel.accelerate(Holder(transformer), INTERVAL)
    with dit_accel.accelerated(holder.transformer, FIRST_BLOCK):
        assert installation_of(holder).target is transformer
    assert installation_of(holder).target is holder


def test_two_token_methods_in_one_cell_are_refused_without_a_known_length(
    transformer: Any, call: Any
) -> None:
    plan = {
        "density": {"kind": "pooled", "pool": 2, "steps": [0.0, 0.4]},
        "merge": {"kind": "tome2d", "ratio": 0.5, "steps": [0, 20]},
    }
    dit_accel.accelerate(transformer, plan)
    with pytest.raises(PlanError, match="density and merge both remove tokens in layer 0"):
        call(transformer, 900)
