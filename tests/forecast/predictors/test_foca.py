"""FoCa's recursion, rolled out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.forecast.predictors.foca import foca_weights


def step_by_step(computed: dict[int, float], target: int, *, by_distance: bool = True) -> float:
    """Run the recursion through every step up to the target; without distances it is the port."""
    known: list[tuple[int, float]] = []  # the last value, computed or forecast, of each step
    anchors: list[tuple[int, float]] = []
    for step in range(min(computed), target + 1):
        if step in computed:
            value = computed[step]
            anchors.append((step, value))
        elif len(anchors) < 2:
            value = anchors[-1][1]
        else:
            slopes = []
            for (now, new), (then, old) in ((anchors[-1], anchors[-2]), (known[-1], known[-2])):
                slopes.append((new - old) / (now - then if by_distance else 1))
            value = known[-1][1] + sum(slopes) / 2
        # A reused value is no measurement of a slope: it is not kept.
        if by_distance and step not in computed and len(anchors) < 2:
            continue
        known.append((step, value))
    return known[-1][1]


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 9), st.integers(0, 99))
def test_the_recursion(gaps: list[int], horizon: int, seed: int) -> None:
    steps = np.cumsum([0, *gaps]).tolist()
    values = np.random.default_rng(seed).normal(size=len(steps))
    target = steps[-1] + horizon
    expected = step_by_step(dict(zip(steps, values.tolist(), strict=True)), target)
    forecast = foca_weights(steps[::-1], target) @ values[::-1]
    assert forecast == pytest.approx(expected, rel=1e-9, abs=1e-9 * np.abs(values).max() * 4**6)


def test_the_port_is_not_exact_on_a_line_and_this_is() -> None:
    """y = t computed at 0, 1 and 4: the port gives 6 at 5."""
    line = {0: 0.0, 1: 1.0, 4: 4.0}
    assert step_by_step(line, 5, by_distance=False) == 6.0
    assert foca_weights([4, 1, 0], 5) @ np.array([4.0, 1.0, 0.0]) == pytest.approx(5.0)


def test_port_and_paper_agree_where_every_step_was_computed() -> None:
    values = {0: 1.0, 1: -2.0, 2: 0.5}
    expected = step_by_step(values, 4, by_distance=False)
    assert foca_weights([2, 1, 0], 4) @ np.array([0.5, -2.0, 1.0]) == pytest.approx(expected)


def test_unit_of_time_comes_with_the_step() -> None:
    by_index = foca_weights([6.0, 3.0, 1.0], 8.0)
    by_timestep = foca_weights([880.0, 940.0, 980.0], 840.0, step=20.0)
    np.testing.assert_allclose(by_index, by_timestep, rtol=1e-12)


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan")])
def test_step_must_be_positive(step: float) -> None:
    with pytest.raises(ValueError, match="step must be positive"):
        foca_weights([1.0, 0.0], 2.0, step)
