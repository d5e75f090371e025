"""The fitted outputs at work: the formula written out on stock transformer calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from calibrated_plans import equal_alone
from tiny_models import FAMILIES, SIDE, TinyFamily, ddim, every_family, noise
from torch import Tensor
from torch._dynamo.testing import CompileCounter

import dit_accel
from dit_accel.calibration_record import Calibration
from dit_accel.errors import PlanError, RunError
from dit_accel.forecast.predictors.multistep import data_prediction, low_frequencies
from dit_accel.install import installation_of

STEPS, SAMPLES, GUIDANCE = 6, (1, 2, 3), 2.0
COMPUTED, GUIDED = (0, 1, 3, 4), (0, 3)
HISTORY, DIFFERENCES = 3, 2


def newest(steps: tuple[int, ...], step: int, count: int) -> list[int]:
    return [at for at in reversed(steps) if at <= step][:count]


def factors(step: int) -> tuple[float, float]:
    scheduler = ddim()
    scheduler.set_timesteps(STEPS)
    return data_prediction("epsilon", float(scheduler.alphas_cumprod[scheduler.timesteps[step]]))


def table(guided: bool = True) -> list[dict[str, Any]]:
    drawn = torch.Generator().manual_seed(0)
    rows = []
    for step in range(STEPS):
        conditional = newest(COMPUTED, step, HISTORY)
        differences = newest(GUIDED, step, DIFFERENCES) if guided else []
        count = len(conditional) + len(differences) + 1
        low, high = (0.2 * torch.randn(2, count, generator=drawn)).tolist()
        rows.append(
            {
                "step": step,
                "factors": list(factors(step)),
                "conditional": conditional,
                "differences": differences,
                "low": [low[0] + 1, *low[1:]],
                "high": [high[0] + 1, *high[1:]],
            }
        )
    return rows


def plan(guided: bool = True) -> dict[str, Any]:
    def compute(steps: tuple[int, ...]) -> dict[str, Any]:
        return {"kind": "calibrated", "compute": list(steps)}

    rows = {"site": "guidance", "predictor": "reuse", "policy": compute(GUIDED)}
    output = {
        "site": "output",
        "predictor": {"kind": "multistep", "table": table(guided)},
        "policy": compute(COMPUTED),
    }
    calibration = Calibration(
        model="none",
        weights=(),
        scheduler="none",
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE if guided else 1.0,
        check=False,
    )
    return {"cache": [rows, output] if guided else output, "calibration": calibration}


class Loop:
    """The sums of a plan written out, one stock transformer call a guidance row."""

    def __init__(self, family: TinyFamily, guided: bool) -> None:
        self.family, self.guided = family, guided
        self.transformer = family.transformer(dtype=torch.float64)
        self.seen: list[Tensor] = []
        self.differences: list[Tensor] = []

    @torch.no_grad()
    def run(self) -> list[Tensor]:
        scheduler, found = ddim(), []
        scheduler.set_timesteps(STEPS)
        latents = noise(SAMPLES, (SIDE, SIDE), torch.float64)
        for row, timestep in zip(table(self.guided), scheduler.timesteps, strict=True):
            output = self._output(row, latents, timestep)
            latents = scheduler.step(output, timestep, latents).prev_sample
            found.append(latents)
        return found

    def _output(self, row: dict[str, Any], latents: Tensor, timestep: Any) -> Tensor:
        (p, q), family, step = row["factors"], self.family, row["step"]
        call = (self.transformer, latents, timestep)
        if step in COMPUTED:
            given = family.predict(*call, family.condition(SAMPLES, torch.float64))
            self.seen.insert(0, p * latents + q * given)
            if self.guided and step in GUIDED:
                null = family.predict(*call, family.null(len(SAMPLES), torch.float64))
                self.differences.insert(0, q * (given - null))
        terms = [*self.seen[:HISTORY], *self.differences[:DIFFERENCES], latents]
        low, high = (
            sum(w * term for w, term in zip(row[band], terms, strict=True))
            for band in ("low", "high")
        )
        assert isinstance(low, Tensor) and isinstance(high, Tensor)
        prediction = low_frequencies(low, 0.25) + high - low_frequencies(high, 0.25)
        return (prediction - p * latents) / q


@every_family
@pytest.mark.parametrize("guided", [True, False])
def test_outputs_are_their_sums(family: TinyFamily, guided: bool) -> None:
    transformer = family.transformer(dtype=torch.float64)
    dit_accel.accelerate(transformer, plan(guided))
    kind = "batched" if guided else "none"
    with dit_accel.run(transformer, STEPS, guidance=guided):
        found = list(family.steps_of(transformer, SAMPLES, STEPS, kind))
    for mine, expected in zip(found, Loop(family, guided).run(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


def test_a_batch_equals_its_samples_alone() -> None:
    family = FAMILIES["dit"]
    transformer = family.transformer(dtype=torch.float64)
    dit_accel.accelerate(transformer, plan())
    equal_alone(family, transformer, SAMPLES, STEPS)


def test_what_is_left_out_is_not_run() -> None:
    family = FAMILIES["alpha"]
    pipe = family.pipeline()
    rows: list[int] = []
    pipe.transformer.pos_embed.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    dit_accel.accelerate(pipe, plan())
    family.generate(pipe, SAMPLES, steps=STEPS, guidance=GUIDANCE)
    assert rows == [6, 3, 6, 3]  # both rows of a sample, or the conditional one
    summary = dit_accel.summary(pipe)
    assert summary.caches[1].computed == pytest.approx(4 / 6)
    assert summary.macs is not None and summary.macs_dense is not None
    assert summary.macs / summary.macs_dense == pytest.approx(3 / 6, rel=0.01)
    dit_accel.restore(pipe)
    assert installation_of(pipe) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictor": "reuse"}, "use predictor multistep"),
        ({"policy": {"kind": "interval", "interval": 2}}, "use policy calibrated"),
        ({"guard": 4.0}, "which is not judged; remove guard"),
        ({"site": "model"}, "use site output"),
    ],
)
def test_other_combinations_are_refused(change: dict[str, Any], message: str) -> None:
    document = plan()
    document["cache"][1] = {**document["cache"][1], **change}
    with pytest.raises(PlanError, match=message):
        dit_accel.Plan.load(document)


def test_other_caches_beside_it_are_refused() -> None:
    document = plan()
    document["cache"][0] = {"site": "deep", "policy": {"kind": "interval", "interval": 2}}
    with pytest.raises(PlanError, match="beside site output only site guidance"):
        dit_accel.Plan.load(document)


def test_another_history_is_refused() -> None:
    document = plan()
    document["cache"][1]["policy"]["compute"] = [0, 1, 2, 4]
    transformer = FAMILIES["dit"].transformer()
    dit_accel.accelerate(transformer, document)
    with (
        pytest.raises(RunError, match=r"step 2 has scalars for .* \[1, 0\].*not for \[2, 1, 0\]"),
        dit_accel.run(transformer, STEPS, guidance=True),
    ):
        FAMILIES["dit"].denoise(transformer, SAMPLES, STEPS)


def test_a_table_without_its_origin_is_refused() -> None:
    document = {key: value for key, value in plan().items() if key != "calibration"}
    with pytest.raises(PlanError, match="without the key 'calibration'"):
        dit_accel.Plan.load(document)


def test_weights_must_match_their_steps() -> None:
    document = plan()
    document["cache"][1]["predictor"]["table"][2]["low"] = [1.0]
    with pytest.raises(PlanError, match="one weight for each step"):
        dit_accel.Plan.load(document)


def test_guidance_of_other_steps_is_refused() -> None:
    document = plan()
    document["cache"][0]["policy"]["compute"] = [0, 4]
    transformer = FAMILIES["dit"].transformer()
    dit_accel.accelerate(transformer, document)
    with (
        pytest.raises(RunError, match=r"step 3 has .* guidance of \[3, 0\].* and \[0\]"),
        dit_accel.run(transformer, STEPS, guidance=True),
    ):
        FAMILIES["dit"].denoise(transformer, SAMPLES, STEPS)


def test_two_calls_a_step_are_refused() -> None:
    document = {**plan(guided=False)}
    transformer = FAMILIES["dit"].transformer()
    dit_accel.accelerate(transformer, document)
    with (
        pytest.raises(RunError, match="a second transformer call in one step"),
        dit_accel.run(transformer, STEPS, calls_per_step=2, guidance=False),
    ):
        FAMILIES["dit"].denoise(transformer, SAMPLES, STEPS, "separate")


def test_a_whole_compiled_transformer_does_not_recompile() -> None:
    family, counter = FAMILIES["dit"], CompileCounter()
    transformer = dit_accel.accelerate(family.transformer(2), plan())

    def run() -> Tensor:
        with dit_accel.run(transformer, STEPS, guidance=True):
            return family.denoise(transformer, SAMPLES, STEPS)

    eager = run()
    torch._dynamo.reset()
    transformer.compile(backend=counter)
    torch.testing.assert_close(run(), eager, rtol=1e-4, atol=1e-4)
    compiled = counter.frame_count
    torch.testing.assert_close(run(), eager, rtol=1e-4, atol=1e-4)
    assert counter.frame_count == compiled > 0
