"""The clock of a run: announced, observed, or inferred from timesteps."""

from __future__ import annotations

import pytest

from dit_accel.errors import RunError
from dit_accel.run_state import RunClock


def unread() -> float:
    raise AssertionError("the timestep was read though the run was announced")


def test_an_announced_run_counts_calls() -> None:
    clock = RunClock()
    clock.announce(3, calls_per_step=2)
    ticks = [clock.tick(unread) for _ in range(6)]
    assert [(tick.step, tick.branch) for tick in ticks] == [
        (step, branch) for step in range(3) for branch in range(2)
    ]
    assert [tick.fraction for tick in ticks] == [0, 0, 0.5, 0.5, 1, 1]
    with pytest.raises(RunError, match=r"call 7 .* 3 steps with 2 call"):
        clock.tick(unread)


def test_an_observed_run_follows_the_scheduler() -> None:
    clock = RunClock()
    clock.announce(2)
    places, ended = [], []
    for calls in (2, 1):
        places += [(tick.step, tick.branch) for tick in (clock.tick(unread) for _ in range(calls))]
        ended.append(clock.end_step())
    assert places == [(0, 0), (0, 1), (1, 0)]
    assert ended == [False, True]


def test_after_an_observed_run_timesteps_place_the_calls() -> None:
    clock = RunClock()
    clock.announce(1)
    first = clock.tick(unread)
    clock.end_step()
    after = [clock.tick(lambda value=value: value) for value in (900.0, 400.0)]
    assert [(tick.step, tick.num_steps) for tick in after] == [(0, None), (1, None)]
    assert after[0].run != first.run


def test_a_run_is_told_from_the_next() -> None:
    clock = RunClock()
    runs = []
    for _ in range(2):
        clock.announce(4)
        runs.append(clock.tick(unread).run)
    assert runs[0] != runs[1]


@pytest.mark.parametrize(
    ("timesteps", "places"),
    [
        ([900, 600, 300, 0], [(0, 0), (1, 0), (2, 0), (3, 0)]),
        ([900, 900, 600, 600], [(0, 0), (0, 1), (1, 0), (1, 1)]),
        ([900, 600, 900, 600], [(0, 0), (1, 0), (0, 0), (1, 0)]),
        ([0.9, 0.5, 0.95], [(0, 0), (1, 0), (0, 0)]),
        ([0, 0], [(0, 0), (0, 1)]),
    ],
)
def test_timesteps_place_calls_that_nobody_announced(
    timesteps: list[float], places: list[tuple[int, int]]
) -> None:
    clock = RunClock()
    ticks = [clock.tick(lambda value=value: float(value)) for value in timesteps]
    assert [(tick.step, tick.branch) for tick in ticks] == places
    assert all(0 <= tick.fraction <= 1 and tick.num_steps is None for tick in ticks)


def test_forgetting_begins_anew() -> None:
    clock = RunClock()
    clock.announce(9)
    clock.tick(unread)
    clock.forget()
    tick = clock.tick(lambda: 500.0)
    assert (tick.step, tick.num_steps, tick.fraction) == (0, None, 0.0)


@pytest.mark.parametrize("num_steps", [0, -1])
def test_a_run_has_at_least_one_step(num_steps: int) -> None:
    with pytest.raises(RunError, match="at least one step"):
        RunClock().announce(num_steps)


def test_a_run_of_one_step_is_at_its_start() -> None:
    clock = RunClock()
    clock.announce(1)
    assert clock.tick(unread).fraction == 0
