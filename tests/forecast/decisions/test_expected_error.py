"""Expected errors of reuse and of the straight line."""

import pytest
import torch
from torch import Tensor

from dit_accel.forecast.decisions.expected_error import (
    expected_error,
    token_smoothness,
    updated_gain,
)


def parabola(slope: float, bend: float, times: list[float]) -> Tensor:
    """``10 + slope t + bend t^2`` at the times, one row of one token and channel."""
    return torch.tensor([[[[10 + slope * t + bend * t * t]]] for t in times], dtype=torch.float64)


def error_of(history: Tensor, horizon: float, noise: float = 0.0) -> float:
    smoothness = token_smoothness(history, torch.tensor([0.0, -2.0, -3.0]))
    return expected_error(smoothness, horizon, 2.0, 1, noise).item()


def test_norms_on_uneven_gaps() -> None:
    history = parabola(3.0, 0.5, [0, -2, -3])
    value, slope, bend = token_smoothness(history, torch.tensor([0.0, -2.0, -3.0]))
    assert (value.item(), slope.item(), bend.item()) == pytest.approx((10.0, 2.0, 0.5))


def test_the_error_of_the_line_on_a_parabola_is_exact() -> None:
    """The line misses bend h (h + g)."""
    history = parabola(3.0, 0.5, [0, -2, -3])
    assert error_of(history, 4.0) == pytest.approx(0.5 * 4 * 6 / 10)


def test_noise_makes_reuse_the_better_choice_for_what_rests() -> None:
    """At rest the line only amplifies the noise: by 1 + 2 h / g."""
    resting = parabola(0.0, 0.0, [0, -2, -3])
    assert error_of(resting, 4.0, noise=0.01) == pytest.approx(0.01)
    moving = parabola(3.0, 0.0, [0, -2, -3])
    assert error_of(moving, 4.0, noise=0.01) == pytest.approx(0.05)


def test_the_worst_tokens_of_each_sample_decide() -> None:
    calm, rough = parabola(1.0, 0.0, [0, -2, -3]), parabola(1.0, 1.0, [0, -2, -3])
    history = torch.cat([calm, calm, calm, rough], dim=1)
    smoothness = token_smoothness(history, torch.tensor([0.0, -2.0, -3.0]))
    errors = expected_error(smoothness, 1.0, 2.0, 2, quantile=1.0)
    assert errors.tolist() == pytest.approx([0.0, 0.3])


def test_gain_follows_what_was_measured() -> None:
    gain = updated_gain(torch.ones(4), torch.tensor([0.4, 0.1, 1e9, 0.0]), torch.full((4,), 0.1))
    assert gain.tolist() == pytest.approx([2.0, 1.0, 4.0, 0.25])


def test_three_snapshots_are_needed() -> None:
    with pytest.raises(ValueError, match="3 snapshots, got 2"):
        token_smoothness(torch.zeros(2, 1, 1, 1), torch.zeros(2))
