"""WorldCache's error signal and the skips that follow from it."""

import pytest
import torch
from torch import Tensor

from dit_accel.forecast.decisions.accumulated_change import accumulate
from dit_accel.forecast.decisions.curvature_drift import chaotic_change, planned_skips
from dit_accel.forecast.predict import weighted_sum
from dit_accel.forecast.predictors.curvature import (
    CHAOTIC,
    curvature_groups,
    curvature_weights,
    token_motion,
    weights_of_tokens,
)

TIMES = [8, 5, 1]


def random_history() -> Tensor:
    """Draw ``[3, 4, 10, 6]``: two samples of two rows."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 10, 6, generator=generator, dtype=torch.float64).cumsum(0)


def signal_from_forecasts(history: Tensor, groups: Tensor, horizon: int, skips: int) -> Tensor:
    """``E_k`` from two forecasts, as the paper has it."""
    moved = torch.zeros_like(history[0])
    for target, sign in ((TIMES[0] + horizon, 1), (TIMES[0] + horizon - 1, -1)):
        table = torch.from_numpy(curvature_weights(TIMES, target, skips))
        moved += sign * weighted_sum(history, weights_of_tokens(table, groups))
    kappa = token_motion(history, torch.tensor(TIMES)).kappa
    signal = kappa * moved.norm(dim=-1)
    return torch.stack([signal[[b, b + 2]][groups[[b, b + 2]] == CHAOTIC].mean() for b in range(2)])


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_signal_is_that_of_the_forecasts(horizon: int) -> None:
    history = random_history()
    motion = token_motion(history, torch.tensor(TIMES))
    groups = curvature_groups(motion.kappa, 0.3, 0.6, 2)
    found = chaotic_change(motion, groups, horizon, 6, 2)
    torch.testing.assert_close(found, signal_from_forecasts(history, groups, horizon, 6))


def test_signal_does_not_depend_on_scale() -> None:
    history, times = random_history(), torch.tensor(TIMES)
    motion, scaled = token_motion(history, times), token_motion(100 * history, times)
    groups = curvature_groups(motion.kappa, 0.3, 0.6, 2)
    torch.testing.assert_close(
        chaotic_change(scaled, groups, 1, 6, 2), chaotic_change(motion, groups, 1, 6, 2)
    )


@pytest.mark.parametrize("threshold", [0.0, 0.2, 1.0, 3.0, 1e9])
def test_plan_is_that_of_going_step_by_step(threshold: float) -> None:
    history, max_skips = random_history(), 6
    motion = token_motion(history, torch.tensor(TIMES))
    groups = curvature_groups(motion.kappa, 0.3, 0.6, 2)
    expected = [0, 0]
    total, done = torch.zeros(2), [False, False]
    for horizon in range(1, max_skips + 1):
        expected = [n + (not stop) for n, stop in zip(expected, done, strict=True)]
        change = chaotic_change(motion, groups, horizon, max_skips, 2)
        need, total = accumulate(total, change, threshold)
        done = [a or b for a, b in zip(done, need.tolist(), strict=True)]
    found = planned_skips(motion, groups, max_skips, threshold, 2)
    assert found.tolist() == expected
    assert threshold > 0 or found.tolist() == [1, 1]
    assert threshold < 1e9 or found.tolist() == [6, 6]


def test_samples_plan_alone() -> None:
    history = random_history()
    history[:, [1, 3]] *= torch.tensor([1.0, 30.0, 5.0])[:, None, None, None]
    times = torch.tensor(TIMES)

    def plan(rows: list[int]) -> list[int]:
        motion = token_motion(history[:, rows], times)
        groups = curvature_groups(motion.kappa, 0.3, 0.6, 2)
        return planned_skips(motion, groups, 6, 1.0, 2).tolist()

    assert plan([0, 1, 2, 3]) == [*plan([0, 2]), *plan([1, 3])]


def test_without_chaotic_tokens_nothing_is_added() -> None:
    motion = token_motion(random_history(), torch.tensor(TIMES))
    groups = torch.zeros(4, 10, dtype=torch.long)
    assert chaotic_change(motion, groups, 1, 6, 2).tolist() == [0.0, 0.0]
    assert planned_skips(motion, groups, 1, 0.2, 2).tolist() == [1, 1]
