"""How many tokens, in which steps: against the releases' numbers."""

from __future__ import annotations

from typing import Any

import pytest

from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.policies.token_importance import TokenImportance
from dit_accel.plan import Plan
from dit_accel.program import action_table
from dit_accel.run_state import Position


def full_steps(num_steps: int | None, run: int = 50, **fields: Any) -> list[int]:
    policy, last, found = TokenImportance(**fields), None, []
    for step in range(run):
        if policy.action(step, last, step / (run - 1), num_steps) == "compute":
            last = step
            found.append(step)
    return found


def position(step: int, num_steps: int | None = 50) -> Position:
    return Position(step, num_steps, 0, step / 49, 0)


def test_full_steps_are_evenly_spaced_and_protect_the_last() -> None:
    assert full_steps(50, interval=4) == [*range(0, 49, 4), 49]
    assert full_steps(None, interval=4) == [*range(0, 49, 4)]


def test_the_released_spacing_has_a_period_of_two_where_it_hurts() -> None:
    """Where 20 to 40 % of the countdown are left."""
    steps = full_steps(50, interval=3, spacing="toca")
    countdowns = [49 - step for step in steps]
    assert countdowns[0] == 49 and countdowns[-1] == 0
    assert [c for c in countdowns if 10 <= c < 20] == [18, 16, 14, 12, 10]


def test_the_released_spacing_without_a_known_length_is_even() -> None:
    assert full_steps(None, interval=3, spacing="toca") == full_steps(None, interval=3)


@pytest.mark.parametrize(
    ("step", "layer", "expected"),
    [
        # share 0.07 of 256 tokens, times 1 + 2 - 4 s/T, times 1 - 0.2 + 0.4 l/27, times 2.5
        (49, 0, round(0.07 * 256 * 3.0 * 0.8 * 2.5)),
        (49, 27, round(0.07 * 256 * 3.0 * 1.2 * 2.5)),
        (24, 27, round(0.07 * 256 * (3.0 - 4 * 25 / 50) * 1.2 * 2.5)),
        (1, 0, 0),
    ],
)
def test_shares_are_those_of_the_release(step: int, layer: int, expected: int) -> None:
    assert TokenImportance().count(position(step), step - 1, layer, 28, 256) == expected


def test_there_are_never_more_than_all_tokens() -> None:
    assert TokenImportance(share=1.0).count(position(49), 48, 27, 28, 256) == 256


def test_every_second_step_after_a_full_one_has_none() -> None:
    policy = TokenImportance(alternate=True, step_weight=0.0)
    counts = [policy.count(position(20 + since), 20, 0, 28, 256) for since in range(1, 5)]
    assert counts == [36, 0, 36, 0]


def test_between_full_steps_the_site_is_forecast() -> None:
    plan = Plan(cache=CacheConfig(site="tokens", policy={"kind": "token_importance"}))
    actions = [action for (action,) in action_table(plan, 5)]
    assert actions == ["compute", "forecast", "forecast", "compute", "compute"]
