"""WorldCache's curvature, groups and forecasts."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dit_accel.forecast.predict import weighted_sum
from dit_accel.forecast.predictors.curvature import (
    blend,
    curvature_groups,
    curvature_weights,
    token_motion,
    weights_of_tokens,
)

TIMES = torch.tensor([2.0, 1.0, 0.0])


def history_of(*newest_first: list[float]) -> Tensor:
    """One row of one token."""
    return torch.tensor(newest_first)[:, None, None]


def random_tokens(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_worked_example() -> None:
    """y = (0,0), (1,0), (1,1) at 0, 1, 2: v = (0,1), a = (-1,1), kappa = sqrt 2."""
    motion = token_motion(history_of([1.0, 1.0], [1.0, 0.0], [0.0, 0.0]), TIMES)
    assert motion.kappa.item() == pytest.approx(2**0.5)
    assert (motion.newest.item(), motion.cross.item(), motion.oldest.item()) == (1.0, 0.0, 1.0)


def test_scaling_the_features_divides_kappa() -> None:
    history = history_of([1.0, 1.0], [1.0, 0.0], [0.0, 0.0])
    motion, scaled = token_motion(history, TIMES), token_motion(10 * history, TIMES)
    torch.testing.assert_close(scaled.kappa, motion.kappa / 10)
    torch.testing.assert_close(scaled.kappa * scaled.newest.sqrt(), motion.kappa)


def test_true_gaps_of_each_row() -> None:
    """Rows computed at other steps are measured by their own positions."""
    history = random_tokens(3, 2, 5, 4).double()
    times = torch.tensor([[9.0, 8.0], [6.0, 7.0], [5.0, 3.0]])
    motion = token_motion(history, times)
    for row in range(2):
        (t0, t1, t2), (y0, y1, y2) = times[:, row].tolist(), history[:, row]
        v0, v1 = (y0 - y1) / (t0 - t1), (y1 - y2) / (t1 - t2)
        a = (v0 - v1) / (t0 - t1)
        torch.testing.assert_close(motion.kappa[row], a.norm(dim=1) / (v0.norm(dim=1) ** 2 + 1e-8))
        torch.testing.assert_close(motion.cross[row], (v0 * v1).sum(1))


def test_half_precision_is_measured_in_float32() -> None:
    history = random_tokens(3, 1, 4, 8).bfloat16()
    assert torch.equal(
        token_motion(history, TIMES).kappa, token_motion(history.float(), TIMES).kappa
    )


def test_curvature_needs_three_snapshots() -> None:
    with pytest.raises(ValueError, match=r"3 snapshots.* got 2"):
        token_motion(random_tokens(2, 1, 4, 8), TIMES)


def test_smoothstep() -> None:
    expected = [0.0741, 0.2593, 0.5, 0.7407, 0.9259, 1.0]
    assert [blend(k, 6) for k in range(1, 7)] == pytest.approx(expected, abs=1e-4)
    assert [blend(k, 2) for k in (1, 2, 3)] == [0.5, 1.0, 1.0]


def test_forecasts_of_the_three_groups() -> None:
    """Fact sheet 4.3 F3: y_0 = 10, v_0 = 2, v_1 = -1, six steps: the slope reverses its sign."""
    values = np.array([10.0, 8.0, 9.0])
    forecasts = np.array([curvature_weights([2, 1, 0], 2 + k, 6) @ values for k in range(1, 7)])
    np.testing.assert_allclose(forecasts[:, 0], 10.0)
    np.testing.assert_allclose(forecasts[:, 1], [12, 14, 16, 18, 20, 22])
    expected = [11.78, 12.44, 11.50, 9.11, 6.11, 4.00]
    np.testing.assert_allclose(forecasts[:, 2], expected, atol=0.005)


def test_weights_on_uneven_gaps() -> None:
    table = curvature_weights([8, 5, 1], 10, 4)
    np.testing.assert_allclose(table[0], [1, 0, 0])
    np.testing.assert_allclose(table[1], [1 + 2 / 3, -2 / 3, 0])
    np.testing.assert_allclose(table[2], [1 + 1 / 3, -1 / 3 + 1 / 4, -1 / 4])


@pytest.mark.parametrize("count", [1, 2])
def test_without_curvature_everything_is_reused(count: int) -> None:
    expected = np.tile(np.eye(count)[0], (3, 1))
    np.testing.assert_array_equal(curvature_weights([8, 5][:count], 10, 4), expected)


def test_groups_by_quantiles() -> None:
    kappa = torch.arange(10.0)[None]
    assert curvature_groups(kappa, 0.3, 0.6, 1).tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2, 2]]


def test_rows_of_a_sample_share_their_quantiles_and_samples_do_not() -> None:
    kappa = random_tokens(4, 32).abs()
    groups = curvature_groups(kappa, 0.3, 0.6, 2)
    alone = curvature_groups(kappa[[0, 2]], 0.3, 0.6, 2)
    assert torch.equal(groups[[0, 2]], alone)
    kappa[[1, 3]] *= 1e6
    assert torch.equal(curvature_groups(kappa, 0.3, 0.6, 2)[[0, 2]], alone)
    both = kappa[[0, 2]].flatten()
    expected = (both >= both.quantile(0.3)).long() + (both >= both.quantile(0.6)).long()
    assert torch.equal(alone.flatten(), expected)


def test_wrong_quantiles_are_named() -> None:
    with pytest.raises(ValueError, match=r"p_s <= p_c <= 1, got 0.6 and 0.3"):
        curvature_groups(torch.zeros(1, 4), 0.6, 0.3, 1)
    with pytest.raises(ValueError, match="3 rows"):
        curvature_groups(torch.zeros(3, 4), 0.3, 0.6, 2)
    with pytest.raises(ValueError, match="max_skips must be positive"):
        curvature_weights([2, 1, 0], 3, 0)


@pytest.mark.parametrize("per_row", [False, True])
def test_every_token_takes_the_forecast_of_its_group(per_row: bool) -> None:
    history = random_tokens(3, 2, 6, 4).double()
    groups = torch.tensor([[0, 1, 2, 2, 1, 0], [2, 2, 0, 1, 0, 1]])
    timelines = ([8, 5, 1], [8, 6, 5]) if per_row else ([8, 5, 1],) * 2
    tables = [torch.from_numpy(curvature_weights(times, 10, 4)) for times in timelines]
    table = torch.stack(tables, dim=2) if per_row else tables[0]
    result = weighted_sum(history, weights_of_tokens(table, groups))
    for row in range(2):
        for token in range(6):
            weights = tables[row][groups[row, token]]
            torch.testing.assert_close(result[row, token], weights @ history[:, row, token])
