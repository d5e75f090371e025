"""FreqCa's forecast against SciPy's cosine transform, on the residuals of a stock model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plain_cache import PlainCache
from references import extrapolate
from scipy.fft import dctn, idctn
from tiny_models import TinyFamily, every_family
from torch import Tensor

import dit_accel
from dit_accel.errors import PlanError
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.plan import Plan

STEPS, CUTOFF = 8, 0.3
LISTED = (0, 1, 3, 6)


class PlainFrequency(PlainCache):
    """Low band of the newest residual, high band of the straight line through two."""

    grid = (8, 8)

    def begin(self, latents: Tensor) -> None:
        self.grid = latents.shape[-2:]
        self.decide(self.step in LISTED)

    def forecast(self) -> Tensor:
        newest, line = self.history[-1][1], extrapolate(self.history, self.step, 1)
        low, high = (
            dctn(each.unflatten(1, self.grid).numpy(), axes=(1, 2), norm="ortho")
            for each in (newest, line)
        )
        height, width = (round(CUTOFF * side) for side in self.grid)
        high[:, :height, :width] = low[:, :height, :width]
        image = idctn(high, axes=(1, 2), norm="ortho")
        return torch.from_numpy(image).flatten(1, 2)


@every_family
@pytest.mark.parametrize("size", [(8, 8), (4, 10)])
def test_equals_the_cosine_transform(family: TinyFamily, size: tuple[int, int]) -> None:
    if family.name == "dit" and size[0] != size[1]:
        size = (4, 4)
    predictor = {"kind": "frequency", "cutoff": CUTOFF, "high": "polynomial"}
    cache = {"predictor": predictor, "policy": {"kind": "list", "compute": list(LISTED)}}
    transformer = family.transformer(dtype=torch.float64)
    dit_accel.accelerate(transformer, {"cache": cache})
    with dit_accel.run(transformer, STEPS, guidance=True):
        got = list(family.steps_of(transformer, (1, 2), STEPS, size=size))
    plain = PlainFrequency(family, STEPS)
    expected = list(family.steps_of(plain.transformer, (1, 2), STEPS, size=size))
    for mine, other in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-8)


@every_family
@pytest.mark.parametrize(
    ("cutoff", "same"),
    [(0.0, {"kind": "polynomial", "order": 2}), (1.0, "reuse")],
)
def test_the_ends_are_other_predictors(family: TinyFamily, cutoff: float, same: Any) -> None:
    images = []
    for predictor in ({"kind": "frequency", "cutoff": cutoff}, same):
        transformer = family.transformer(dtype=torch.float64)
        cache = {"predictor": predictor, "policy": {"kind": "interval", "interval": 3}}
        dit_accel.accelerate(transformer, {"cache": cache})
        with dit_accel.run(transformer, STEPS, guidance=True):
            images.append(family.denoise(transformer, (1,), STEPS))
    torch.testing.assert_close(*images, rtol=1e-9, atol=1e-9)


def test_a_plan_keeps_the_forecast_of_the_high_band() -> None:
    predictor = {"kind": "frequency", "high": {"kind": "hermite", "sigma": 0.7}}
    plan = Plan.load({"cache": {"predictor": predictor, "policy": "interval"}})
    assert Plan.from_yaml(plan.to_yaml()) == plan
    assert plan.cache[0].snapshots == 3
    short = Plan.load({"cache": {"predictor": "frequency", "policy": "interval"}})
    assert Plan.from_yaml(short.to_yaml()) == short


@pytest.mark.parametrize("kind", ["curvature", "frequency", "multistep"])
def test_the_high_band_takes_a_linear_predictor(kind: str) -> None:
    predictor = {"kind": "frequency", "high": kind}
    with pytest.raises(PlanError, match=r"predictor\.high: .*expected a linear predictor"):
        CacheConfig(predictor=predictor, policy="interval")
