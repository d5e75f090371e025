"""WorldCache's policy and predictor against a plain loop over one sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from plain_cache import PlainCache, accelerated_run, assert_equal_to_plain
from references import extrapolate
from tiny_models import TinyFamily, decisions, every_family, modes
from torch import Tensor

STEPS = 16
STABLE, CHAOTIC = 0.3, 0.7


def last_three(history: list[tuple[float, Tensor]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Newest value, both velocities, and the curvature of each token."""
    (t2, y2), (t1, y1), (t0, y0) = history[-3:]
    v0, v1 = (y0 - y1) / (t0 - t1), (y1 - y2) / (t1 - t2)
    acceleration = (v0 - v1) / (t0 - t1)
    return y0, v0, v1, acceleration.norm(dim=-1) / (v0.square().sum(-1) + 1e-8)


def alpha(k: float, most: int) -> float:
    x = min(k / most, 1.0)
    return 3 * x**2 - 2 * x**3


class PlainCurvature(PlainCache):
    """Skips planned by looking ahead step by step; forecasts token by token."""

    threshold, most, warm, grouped = 8.0, 4, 4, True

    def begin(self, latents: Tensor) -> None:
        history = self.histories[0]
        need = self.step < self.warm or self.is_last or len(history) < 3
        if not need:
            need = self.step - history[-1][0] > self.planned(history)
        self.decide(need)

    def planned(self, history: list[tuple[float, Tensor]]) -> int:
        y0, v0, v1, kappa = last_three(history)
        bound = np.quantile(kappa.numpy(), CHAOTIC)
        total, forecasts = 0.0, [y0]
        for k in range(1, self.most):
            a = alpha(k, self.most)
            forecasts.append(y0 + k * ((1 - a) * v0 + a * v1))
            moved = kappa * (forecasts[-1] - forecasts[-2]).norm(dim=-1)
            total += float(moved[kappa >= bound].mean())
            if total >= self.threshold:
                return k
        return self.most

    def forecast(self) -> Tensor:
        if not self.grouped:
            return extrapolate(self.history, self.step, self.order)
        if len(self.history) < 3:
            return self.history[-1][1]
        y0, v0, v1, kappa = last_three(self.history)
        k = self.step - self.history[-1][0]
        a = alpha(k, self.most)
        low, high = np.quantile(kappa.numpy(), [STABLE, CHAOTIC])
        curved = torch.where(
            (kappa >= high)[..., None], y0 + k * ((1 - a) * v0 + a * v1), y0 + k * v0
        )
        return torch.where((kappa < low)[..., None], y0, curved)


POLICY = {
    "kind": "curvature",
    "threshold": PlainCurvature.threshold,
    "max_skips": 4,
    "chaotic": CHAOTIC,
    "retention": 4 / STEPS,
}
PREDICTOR = {"kind": "curvature", "stable": STABLE, "chaotic": CHAOTIC, "max_skips": 4}


class PlainPolynomial(PlainCurvature):
    grouped = False


@every_family
@pytest.mark.parametrize(
    ("guidance", "grouped"),
    [("none", True), ("batched", True), ("separate", True), ("batched", False)],
)
def test_equals_a_plain_loop_over_each_sample(
    family: TinyFamily, guidance: str, grouped: bool
) -> None:
    cache = {"policy": POLICY, **({"predictor": PREDICTOR} if grouped else {}), "guard": False}
    got, transformer = accelerated_run(family, cache, STEPS, guidance)
    decided = decisions(transformer)
    assert {True, False} == {needed for step in decided for needed in step}
    plain = PlainCurvature if grouped else PlainPolynomial
    assert_equal_to_plain(
        family, lambda f, calls: plain(f, STEPS, calls=calls), got, decided, guidance
    )


class PlainListed(PlainCurvature):
    """The predictor with a policy that knows the step alone."""

    listed: tuple[int, ...] = (0, 1, 3, 7, 10)

    def begin(self, latents: Tensor) -> None:
        self.decide(self.step in self.listed)


@every_family
@pytest.mark.parametrize("guidance", ["none", "batched", "separate"])
def test_the_predictor_goes_with_any_policy(family: TinyFamily, guidance: str) -> None:
    """Quantiles over both guidance rows of a sample, over uneven gaps."""
    cache = {"policy": {"kind": "list", "compute": list(PlainListed.listed)}}
    got, transformer = accelerated_run(family, {**cache, "predictor": PREDICTOR}, STEPS, guidance)
    calls = 2 if guidance == "separate" else 1
    assert modes(transformer)[::calls] == [
        "all" if step in PlainListed.listed else "none" for step in range(STEPS)
    ]
    for place, sample in enumerate((1, 2, 3)):
        expected = PlainListed(family, STEPS, calls=calls).run(sample, guidance)
        for mine, other in zip(got, expected, strict=True):
            torch.testing.assert_close(mine[place], other[0], rtol=1e-7, atol=1e-7)


@every_family
def test_samples_part(family: TinyFamily) -> None:
    parted = 0
    for threshold in (1.0, 2.0, 4.0, 8.0, 16.0):
        cache = {"policy": {**POLICY, "threshold": threshold}, "predictor": PREDICTOR}
        _, transformer = accelerated_run(family, cache, STEPS)
        parted += sum(len(set(step)) == 2 for step in decisions(transformer))
    assert parted


@every_family
def test_at_most_max_skips_are_forecast_in_a_row_and_at_least_one(family: TinyFamily) -> None:
    for threshold, row in ((1e-9, 1), (1e9, 4)):
        policy: dict[str, Any] = {**POLICY, "threshold": threshold}
        _, transformer = accelerated_run(family, {"policy": policy}, STEPS, "none", (1,))
        forecast = "".join(mode[0] for mode in modes(transformer))
        assert {len(part) for part in forecast[4:-1].split("a")} <= {0, row, 11 % (row + 1)}
        assert "n" * row in forecast and "n" * (row + 1) not in forecast
