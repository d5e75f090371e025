"""Guidance, deep blocks and both: against a plain loop, alone in a batch, after a mishap."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from references import extrapolate
from tiny_models import CHANNELS, FAMILIES, TinyFamily, calls_of, ddim, noise
from torch import Tensor

import dit_accel
from dit_accel.install import installation_of
from dit_accel.methods.registry import kinds

STEPS = 9
SAMPLES = (1, 2, 3)


def listed(*steps: int) -> dict[str, Any]:
    return {"kind": "list", "compute": list(steps)}


def guidance(policy: Any, predictor: Any = "reuse") -> dict[str, Any]:
    return {"site": "guidance", "predictor": predictor, "policy": policy}


def deep(policy: Any, predictor: Any = "polynomial", first: int = 1) -> dict[str, Any]:
    return {"site": {"kind": "deep", "first": first}, "predictor": predictor, "policy": policy}


def run(family: TinyFamily, plan: Any, samples: tuple[int, ...] = SAMPLES) -> list[Tensor]:
    transformer = family.transformer(dtype=torch.float64)
    dit_accel.accelerate(transformer, plan)
    with dit_accel.run(transformer, STEPS, guidance=True):
        return list(family.steps_of(transformer, samples, STEPS))


class PlainLoop:
    """Two separate calls of a stock transformer a step, and the sums written out."""

    def __init__(self, family: TinyFamily, guided: set[int], deep: set[int], first: int) -> None:
        self.family, self.guided, self.deep, self.first = family, guided, deep, first
        self.transformer = family.transformer(dtype=torch.float64)
        self.deltas: list[tuple[float, Tensor]] = []
        self.residuals: dict[str, list[tuple[float, Tensor]]] = {"condition": [], "null": []}
        self.row, self.step, self.start = "", 0, torch.empty(0)
        blocks = self.transformer.transformer_blocks
        blocks[first].register_forward_pre_hook(self._enter, with_kwargs=True)
        blocks[-1].register_forward_hook(self._leave)

    def _enter(self, _: Any, args: Any, kwargs: Any) -> None:
        self.start = args[0] if args else kwargs["hidden_states"]

    def _leave(self, _: Any, args: Any, output: Tensor) -> Tensor:
        history = self.residuals[self.row]
        if self.step in self.deep or not history:
            history.append((self.step, output - self.start))
            return output
        return self.start + extrapolate(history, self.step, 1)

    def _call(self, row: str, latents: Tensor, timestep: Any, condition: Any) -> Tensor:
        self.row = row
        times = torch.full((len(latents),), float(timestep), dtype=torch.float64)
        return self.transformer(latents, timestep=times, **condition).sample

    @torch.no_grad()
    def steps(self, order: int) -> list[Tensor]:
        family, scheduler, found = self.family, ddim(), []
        scheduler.set_timesteps(STEPS)
        latents = noise(SAMPLES, (8, 8), torch.float64)
        condition = family.condition(SAMPLES, torch.float64)
        null = family.null(len(SAMPLES), torch.float64)
        for self.step, timestep in enumerate(scheduler.timesteps):
            c = self._call("condition", latents, timestep, condition)
            if self.step in self.guided:
                u = self._call("null", latents, timestep, null)
                self.deltas.append((self.step, c - u))
            else:
                u = c - extrapolate(self.deltas, self.step, order)
            output = (u + 2.0 * (c - u))[:, :CHANNELS]
            latents = scheduler.step(output, timestep, latents).prev_sample
            found.append(latents)
        return found


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize(("predictor", "order"), [("reuse", 0), ("polynomial", 1)])
def test_guidance_equals_a_plain_loop(family: TinyFamily, predictor: str, order: int) -> None:
    """`reuse` after the first step alone, and a straight line through some."""
    guided = {0} if order == 0 else {0, 1, 5}
    expected = PlainLoop(family, guided, set(range(STEPS)), 1).steps(order)
    got = run(family, {"cache": guidance(listed(*sorted(guided)), predictor)})
    for mine, other in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("guided", "computed"),
    [
        ({0, 4, 8}, {0, 2, 4, 6, 8}),
        ({0, 3, 6, 8}, {0, 2, 4, 6, 8}),  # unconditional rows come back in a forecast step
        ({0, 1, 2, 5}, {0, 4, 5}),
    ],
)
@pytest.mark.parametrize("first", [1, 2])
def test_guidance_and_deep_blocks_equal_a_plain_loop(
    layout: TinyFamily, guided: set[int], computed: set[int], first: int, exact: bool
) -> None:
    """Rows that were absent when the deep blocks ran are forecast from what they had."""
    expected = PlainLoop(layout, guided, computed, first).steps(0)
    caches = [deep(listed(*sorted(computed)), first=first), guidance(listed(*sorted(guided)))]
    got = run(layout, {"cache": caches, "exact": exact})
    for mine, other in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-8)


def test_unconditional_rows_do_not_enter_the_network(layout: TinyFamily) -> None:
    transformer = layout.transformer()
    seen: list[int] = []
    for block in transformer.transformer_blocks:
        block.attn1.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(len((args or [*kwargs.values()])[0])),
            with_kwargs=True,
        )
    plan = {"cache": [guidance(listed(0, 2)), deep(listed(0, 2), first=1)]}
    dit_accel.accelerate(transformer, plan)
    with dit_accel.run(transformer, 4, guidance=True):
        layout.denoise(transformer, SAMPLES, steps=4)
    assert seen == [6] * 4 + [3] + [6] * 4 + [3]
    told = [[site.needed for site in call.sites] for call in calls_of(transformer)]
    assert told == [[(True,) * 3] * 2, [(False,) * 3] * 2] * 2


EVERY = [
    *(
        {"site": site, "policy": {"kind": "interval", "interval": 2}}
        for site in kinds("site")
        # Not on every model, not with this policy.
        if site not in ("cross_attention", "tokens", "output")
    ),
    *(
        {"predictor": p, "site": "deep", "policy": "interval"}
        for p in kinds("predictor")
        if p not in ("calibrated", "multistep")  # tests/calibration
    ),
    {"policy": {"kind": "magnitude", "ratios": [1.0] * STEPS, "max_skips": 1}},
    {"site": "deep", "policy": {"kind": "first_block", "threshold": 0.3}},
    {"site": "deep", "policy": "interval", "guard": 1.01},
    {"policy": {"kind": "first_block", "threshold": 0.3}, "deterministic": True},
    {"site": "deep", "policy": "interval", "history": "float32"},
    [deep("interval"), guidance({"kind": "interval", "interval": 4})],
    [deep({"kind": "first_block", "threshold": 0.3}), guidance("interval", "taylor")],
    [
        {"site": {"kind": "deep", "first": 1, "last": 1}, "policy": "interval"},
        {"site": {"kind": "deep", "first": 2}, "predictor": "reuse", "policy": listed(0, 4, 6)},
    ],
]


@pytest.mark.parametrize("cache", EVERY, ids=str)
def test_a_batch_equals_its_samples_alone(layout: TinyFamily, cache: Any) -> None:
    plan = {"cache": cache}
    batch = run(layout, plan)[-1]
    alone = [run(layout, plan, (sample,))[-1] for sample in SAMPLES]
    assert batch.isfinite().all()
    torch.testing.assert_close(batch, torch.cat(alone), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("scale", [1e3, torch.nan])
@pytest.mark.parametrize("cache", [EVERY[-3], EVERY[-2], {"policy": "interval", "guard": 1.01}])
def test_an_adversarial_batch_mate_changes_nothing(
    layout: TinyFamily, cache: Any, scale: float
) -> None:
    def outputs(mate: float) -> list[Tensor]:
        transformer = layout.transformer(dtype=torch.float64)
        dit_accel.accelerate(transformer, {"cache": cache})
        generator, found = torch.Generator().manual_seed(3), []
        condition = layout.guided_condition((1, 2), torch.float64)
        latents = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64)
        with torch.no_grad(), dit_accel.run(transformer, 8, guidance=True):
            for timestep in range(800, 0, -100):
                moved = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64)
                latents = latents + 0.1 * moved
                rows = latents * torch.tensor([1.0, mate], dtype=torch.float64)[:, None, None, None]
                out = layout.predict(transformer, torch.cat([rows, rows]), timestep, condition)
                found.append(out[[0, 2]])
        return found

    for loud, quiet in zip(outputs(scale), outputs(1.0), strict=True):
        torch.testing.assert_close(loud, quiet, rtol=1e-8, atol=1e-8)


def test_the_guard_is_counted(layout: TinyFamily) -> None:
    """A range that is left at once: what would be forecast is computed."""
    transformer = layout.transformer()
    cache = {"policy": "interval", "predictor": {"kind": "polynomial", "order": 3}, "guard": 1.0}
    dit_accel.accelerate(transformer, {"cache": cache})
    with dit_accel.run(transformer, STEPS, guidance=True):
        layout.denoise(transformer, SAMPLES, steps=STEPS)
    (counts,) = dit_accel.summary(transformer).caches
    assert counts.guarded > 0 and len(counts.sample_steps) == 3
    assert sum(counts.sample_steps) == 3 * 5 + counts.guarded
    assert "by the guard" in str(counts)


def test_prompts_of_one_seed_are_no_guidance(layout: TinyFamily) -> None:
    """Two samples whose latents are equal: nobody's row is left out once that is known."""
    pipe = dit_accel.accelerate(layout.pipeline(), {"cache": guidance("interval")})
    pipe.scheduler.set_timesteps(6)
    latents = noise((1, 1), (8, 8), torch.float32)
    condition = layout.condition((1, 2), torch.float32)
    with torch.no_grad():
        for timestep in pipe.scheduler.timesteps:
            out = layout.predict(pipe.transformer, latents, timestep, condition)
            latents = pipe.scheduler.step(out, timestep, latents).prev_sample
    stock = layout.pipeline()
    stock.scheduler.set_timesteps(6)
    expected = noise((1, 1), (8, 8), torch.float32)
    with torch.no_grad():
        for timestep in stock.scheduler.timesteps:
            out = layout.predict(stock.transformer, expected, timestep, condition)
            expected = stock.scheduler.step(out, timestep, expected).prev_sample
    assert torch.equal(latents, expected)


def test_summary_and_bytes(layout: TinyFamily) -> None:
    plan = {"cache": [deep(listed(0, 4)), guidance(listed(0, 4))]}
    pipe = dit_accel.accelerate(layout.pipeline(), plan)
    layout.generate(pipe, SAMPLES)
    found = dit_accel.summary(pipe)
    assert [each.sample_steps for each in found.caches] == [(2, 2, 2)] * 2
    assert [each.computed for each in found.caches] == pytest.approx([1 / 3] * 2)
    width = 32 if layout.name == "dit" else 36
    stream, latents = 6 * 64 * width * 4, 3 * 2 * CHANNELS * 64 * 4
    assert found.cache_bytes == 2 * stream + latents
    assert found.macs is not None and found.macs_dense is not None
    # A third of the steps whole; else the first of four blocks, of half of the rows.
    assert found.macs == pytest.approx((2 + 4 / 8) / 6 * found.macs_dense, rel=0.06)
    installation = installation_of(pipe)
    assert installation is not None and installation.nbytes == 0
