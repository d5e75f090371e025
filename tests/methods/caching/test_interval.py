"""Interval caching: which steps are computed, and what the others are."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from references import ForecastingBlocks
from tiny_models import FAMILIES, TinyFamily, every_family, modes, noise
from torch import Tensor, nn

import dit_accel
from dit_accel.methods.caching.policies.interval import Interval

UNEVEN = {"schedule": "steps", "values": [1, 2, 3, 4], "at": [0.3, 0.45, 0.7]}
STEPS = 20


def computed_steps(cache: Interval, num_steps: int) -> list[int]:
    last, found = None, []
    for step in range(num_steps):
        if cache.action(step, last, step / max(1, num_steps - 1), num_steps) == "compute":
            last = step
            found.append(step)
    return found


def test_every_kth_step_and_the_last_are_computed() -> None:
    assert computed_steps(Interval(interval=3), 9) == [0, 3, 6, 8]
    assert computed_steps(Interval(interval=3), 10) == [0, 3, 6, 9]
    assert computed_steps(Interval(interval=1), 4) == [0, 1, 2, 3]


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("interval", [1, 2, 5, 100, {"schedule": "linear", "start": 1, "end": 9}])
def test_first_and_last_steps_are_always_computed(interval: Any, num_steps: int) -> None:
    steps = computed_steps(Interval(interval=interval), num_steps)
    assert steps[0] == 0 and steps[-1] == num_steps - 1


def test_a_schedule_is_denser_at_both_ends() -> None:
    schedule = {"schedule": "steps", "values": [1, 4, 1], "at": [0.2, 0.8]}
    steps = computed_steps(Interval(interval=schedule), 26)
    gaps = [b - a for a, b in pairwise(steps)]
    assert steps[:6] == [0, 1, 2, 3, 4, 8] and set(gaps[-4:]) == {1}
    assert max(gaps) == 4


def test_without_a_length_no_step_is_known_to_be_the_last() -> None:
    cache = Interval(interval=4)
    assert cache.action(9, 8, 1.0, None) == "forecast"
    assert cache.action(12, 8, 0.5, None) == "compute"


class PolynomialBlock(nn.Module):
    """A block whose residual is a polynomial in the step, other in each layer."""

    def __init__(self, block: Any, degree: int, layer: int) -> None:
        super().__init__()
        self.norm1, self.attn1, self.ff = block.norm1, block.attn1, block.ff  # the head asks norm1
        generator = torch.Generator().manual_seed(layer)
        self.coefficients = torch.randn(degree + 1, 64, 32, generator=generator).double()

    def forward(self, hidden_states: Tensor, timestep: Tensor, **_: Any) -> Tensor:
        u = (900.0 - timestep[:, None, None]) / 400.0
        powers = torch.stack([u**k for k in range(len(self.coefficients))])
        return hidden_states + (powers * self.coefficients[:, None]).sum(0)


def polynomial_transformer(degree: int) -> Any:
    transformer = FAMILIES["dit"].transformer(dtype=torch.float64)
    for layer, block in enumerate(transformer.transformer_blocks):
        transformer.transformer_blocks[layer] = PolynomialBlock(block, degree, layer)
    return transformer


def trajectory(transformer: Any, family: TinyFamily = FAMILIES["dit"]) -> Tensor:
    """Outputs `[T, R, C, H, W]` over timesteps that fall evenly."""
    found = []
    with torch.no_grad(), dit_accel.run(transformer, timesteps=STEPS):
        for step in range(STEPS):
            latents = noise((step, step + 1), (8, 8), torch.float64)
            condition = family.condition((1, 2), torch.float64)
            found.append(family.predict(transformer, latents, 900 - 40 * step, condition))
    return torch.stack(found)


@pytest.mark.parametrize("site", ["model", "block"])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_polynomial_trajectories_are_predicted_exactly_with_uneven_gaps(
    order: int, site: str
) -> None:
    transformer = polynomial_transformer(order)
    dense = trajectory(transformer)
    cache = {
        "site": site,
        "predictor": {"kind": "polynomial", "order": order},
        "policy": {"kind": "interval", "interval": UNEVEN},
    }
    dit_accel.accelerate(transformer, {"cache": cache})
    predicted = trajectory(transformer)
    decided = modes(transformer)
    computed = [step for step, mode in enumerate(decided) if mode == "all"]
    gaps = {b - a for a, b in pairwise(computed)}
    assert {1, 2, 3, 4} <= gaps and decided.count("none") >= 7
    torch.testing.assert_close(predicted, dense, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_polynomial_of_higher_degree_is_not(order: int) -> None:
    transformer = polynomial_transformer(order + 1)
    dense = trajectory(transformer)
    cache = {
        "predictor": {"kind": "polynomial", "order": order},
        "policy": {"kind": "interval", "interval": UNEVEN},
    }
    predicted = trajectory(dit_accel.accelerate(transformer, {"cache": cache}))
    for step, mode in enumerate(modes(transformer)):
        assert torch.allclose(predicted[step], dense[step], atol=1e-3) == (mode == "all")


@every_family
@pytest.mark.parametrize(
    ("fields", "order"),
    [
        ({"predictor": "reuse"}, 0),
        ({"predictor": "polynomial"}, 1),
        ({"predictor": {"kind": "polynomial", "order": 2}}, 2),
        ({"predictor": {"kind": "polynomial", "damping": 0.0}}, 0),
    ],
)
def test_agrees_with_a_reference_made_of_torch_hooks(
    family: TinyFamily, fields: dict[str, Any], order: int
) -> None:
    cache = {"policy": {"kind": "interval", "interval": UNEVEN}, **fields}
    accelerated = dit_accel.accelerate(family.transformer(dtype=torch.float64), {"cache": cache})
    got = trajectory(accelerated, family)
    reference = family.transformer(dtype=torch.float64)
    blocks = ForecastingBlocks(reference, first=0, order=order)
    for step, mode in enumerate(modes(accelerated)):
        blocks.step, blocks.computes = step, mode == "all"
        latents = noise((step, step + 1), (8, 8), torch.float64)
        with torch.no_grad():
            condition = family.condition((1, 2), torch.float64)
            expected = family.predict(reference, latents, 900 - 40 * step, condition)
        torch.testing.assert_close(got[step], expected, rtol=1e-8, atol=1e-8)


@every_family
@pytest.mark.parametrize(
    "fields",
    [
        {"predictor": "reuse"},
        {"predictor": "polynomial"},
        {"predictor": {"kind": "polynomial", "order": 3, "damping": 0.5}},
    ],
)
def test_block_sites_equal_the_model_site_for_linear_predictors(
    family: TinyFamily, fields: dict[str, Any]
) -> None:
    transformer = family.transformer(dtype=torch.float64)
    results = []
    for site in ("model", "block"):
        cache = {"policy": {"kind": "interval", "interval": UNEVEN}, "site": site, **fields}
        results.append(trajectory(dit_accel.accelerate(transformer, {"cache": cache}), family))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


@every_family
def test_no_block_runs_in_a_forecast_step(family: TinyFamily) -> None:
    transformer = family.transformer()
    ran: list[int] = []
    for block in transformer.transformer_blocks:
        block.attn1.register_forward_pre_hook(lambda *_: ran.append(1))
    dit_accel.accelerate(transformer, {"cache": {"policy": {"kind": "interval", "interval": 3}}})
    with dit_accel.run(transformer, timesteps=7):
        family.denoise(transformer, steps=7)
    assert len(ran) == 3 * len(transformer.transformer_blocks)


@every_family
def test_history_is_not_extrapolated_across_a_change_of_the_density_grid(
    family: TinyFamily,
) -> None:
    """After the grid has changed, only what was computed on the new grid counts."""
    density = {
        "kind": "pooled",
        "grid": {"schedule": "steps", "values": [[4, 4], [8, 8]], "at": [0.5]},
    }
    cache = {
        "predictor": {"kind": "polynomial", "order": 1},
        "policy": {"kind": "interval", "interval": 2},
    }
    transformer = family.transformer(dtype=torch.float64)
    dit_accel.accelerate(transformer, {"cache": cache, "density": density})
    got = trajectory(transformer, family)
    pooled = family.transformer(dtype=torch.float64)
    dit_accel.accelerate(pooled, {"density": density})
    blocks = ForecastingBlocks(pooled, first=0, order=1)
    with torch.no_grad(), dit_accel.run(pooled, timesteps=STEPS):
        for step, mode in enumerate(modes(transformer)):
            blocks.step, blocks.computes = step, mode == "all"
            if step == 10:  # computed, and the first on the fine grid
                assert mode == "all"
                blocks.history.clear()
            latents = noise((step, step + 1), (8, 8), torch.float64)
            condition = family.condition((1, 2), torch.float64)
            expected = family.predict(pooled, latents, 900 - 40 * step, condition)
            torch.testing.assert_close(got[step], expected, rtol=1e-8, atol=1e-8)
