"""The predictor at work: what enters a site now is part of the forecast."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from calibrated_plans import equal_alone
from tiny_models import CHANNELS, FAMILIES, TinyFamily, ddim, every_family, noise
from torch import Tensor

import dit_accel
from dit_accel.calibration_record import Calibration
from dit_accel.errors import PlanError, RunError
from dit_accel.methods.caching.cache import CacheConfig

STEPS, SAMPLES, GUIDANCE = 5, (1, 2, 3), 2.0
BLOCKS, ROWS = (0, 2, 3), (0, 2)
WEIGHTS = {
    1: ((0,), (0.9,), 0.4),
    3: ((2, 0), (1.3, -0.4), 0.2),
    4: ((3, 2), (1.6, -0.5), -0.3),
}


def table(computed: tuple[int, ...]) -> list[dict[str, Any]]:
    rows = []
    for step in set(range(STEPS)) - set(computed):
        after = tuple(at for at in reversed(computed) if at < step)[:2]
        _, weights, entering = WEIGHTS.get(step, ((), (0.7, 0.2), 0.1))
        kept = list(weights[: len(after)])
        rows.append({"step": step, "after": list(after), "weights": kept, "input": entering})
    return sorted(rows, key=lambda row: row["step"])


def cache(site: Any, computed: tuple[int, ...]) -> dict[str, Any]:
    return {
        "site": site,
        "predictor": {"kind": "calibrated", "table": table(computed)},
        "policy": {"kind": "calibrated", "compute": list(computed)},
    }


def record(guided: bool = True) -> Calibration:
    return Calibration(
        model="none",
        weights=(),
        scheduler="none",
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE if guided else 1.0,
        check=False,
    )


def both() -> dict[str, Any]:
    caches = [cache("guidance", ROWS), cache({"kind": "deep", "first": 1}, BLOCKS)]
    return {"cache": caches, "calibration": record()}


class Loop:
    """The sums of `both` written out, on one stock transformer call a guidance row."""

    def __init__(self, family: TinyFamily) -> None:
        self.family, self.step, self.start = family, 0, torch.empty(0)
        self.transformer = family.transformer(dtype=torch.float64)
        self.blocks: list[tuple[Tensor, Tensor]] = []
        self.rows: list[tuple[Tensor, Tensor]] = []
        self.deep = True
        layers = self.transformer.transformer_blocks
        layers[1].register_forward_pre_hook(self._enter, with_kwargs=True)
        layers[-1].register_forward_hook(self._leave)

    def _enter(self, _: Any, args: Any, kwargs: Any) -> None:
        self.start = args[0] if args else kwargs["hidden_states"]

    def _leave(self, _: Any, args: Any, output: Tensor) -> Tensor:
        if not self.deep:
            return output
        if self.step in BLOCKS:
            self.blocks.insert(0, (output - self.start, self.start))
            return output
        return self.start + self._forecast(BLOCKS, self.blocks, self.start)

    def _forecast(self, computed: Any, known: list[tuple[Tensor, Tensor]], now: Tensor) -> Tensor:
        row = next(row for row in table(computed) if row["step"] == self.step)
        total = row["input"] * (now - known[0][1])
        for weight, (value, _) in zip(row["weights"], known, strict=False):
            total = total + weight * value
        return total

    def run(self) -> list[Tensor]:
        scheduler, found = ddim(), []
        scheduler.set_timesteps(STEPS)
        latents = noise(SAMPLES, (8, 8), torch.float64)
        for self.step, timestep in enumerate(scheduler.timesteps):
            output = self._output(latents, timestep)
            latents = scheduler.step(output, timestep, latents).prev_sample
            found.append(latents)
        return found

    def _output(self, latents: Tensor, timestep: Any) -> Tensor:
        family, dtype = self.family, torch.float64
        steps = torch.full((len(latents),), float(timestep), dtype=dtype)
        condition = family.condition(SAMPLES, dtype)
        self.deep = True
        given = self.transformer(latents, timestep=steps, **condition).sample
        if self.step in ROWS:
            self.deep = False  # a row that is computed here goes through all blocks
            absent = family.null(len(SAMPLES), dtype)
            null = self.transformer(latents, timestep=steps, **absent).sample
            self.rows.insert(0, (given - null, given))
        else:
            null = given - self._forecast(ROWS, self.rows, given)
        given, null = given[:, :CHANNELS], null[:, :CHANNELS]
        return null + GUIDANCE * (given - null)


@every_family
@torch.no_grad()
def test_both_caches_are_their_sums(family: TinyFamily) -> None:
    transformer = family.transformer(dtype=torch.float64)
    dit_accel.accelerate(transformer, both())
    with dit_accel.run(transformer, STEPS, guidance=True):
        found = list(family.steps_of(transformer, SAMPLES, STEPS))
    for mine, expected in zip(found, Loop(family).run(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


def test_a_batch_equals_its_samples_alone() -> None:
    family = FAMILIES["dit"]
    transformer = family.transformer(dtype=torch.float64)
    dit_accel.accelerate(transformer, both())
    equal_alone(family, transformer, SAMPLES, STEPS)


def test_another_history_is_refused() -> None:
    plan = both()
    plan["cache"][1]["policy"] = {"kind": "list", "compute": [0, 1, 3]}
    family = FAMILIES["dit"]
    transformer = family.transformer()
    dit_accel.accelerate(transformer, plan)
    with (
        pytest.raises(RunError, match=r"no weights for step 2 after .* \[1, 0\].*calibrate"),
        dit_accel.run(transformer, STEPS, guidance=True),
    ):
        family.denoise(transformer, SAMPLES, STEPS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guard": 4.0}, "guard changes it sample by sample"),
        ({"policy": {"kind": "first_block", "threshold": 0.1}}, "policy first_block changes it"),
    ],
)
def test_what_would_change_the_history_is_refused(changes: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        CacheConfig(**{**cache("model", BLOCKS), **changes})


def test_a_table_without_its_origin_is_refused() -> None:
    with pytest.raises(PlanError, match="without the key 'calibration'"):
        dit_accel.Plan(cache=cache("model", BLOCKS))


def test_weights_must_match_their_steps() -> None:
    bad = cache("model", BLOCKS)
    bad["predictor"]["table"] = [{"step": 1, "after": [0], "weights": [1.0, 2.0]}]
    with pytest.raises(PlanError, match="as many weights as steps in 'after'"):
        CacheConfig(**bad)
