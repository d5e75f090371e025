"""Values over a run: what they are at each fraction, how they are read, written and refused."""

import math
import pickle
from typing import Annotated, Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dit_accel.configuration.strict_model import StrictModel
from dit_accel.errors import PlanError
from dit_accel.schedule import Schedule, within

numbers = st.integers(-1000, 1000) | st.floats(-1000, 1000).map(lambda x: round(x, 6))
fractions = st.floats(0, 1)


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """Anything that a plan file may hold in the place of a schedule, in its shortest form."""
    length = draw(st.none() | st.integers(1, 3))
    value = (
        numbers
        if length is None
        else st.lists(numbers, min_size=length, max_size=length)  # every value of one length
    )
    kind = draw(st.sampled_from(["constant", "linear", "cosine", "steps"]))
    if kind == "constant":
        return draw(value)
    if kind == "steps":
        inside = st.floats(0, 1, exclude_min=True, exclude_max=True)
        at = sorted(draw(st.lists(inside, unique=True, max_size=4)))
        values = [draw(value) for _ in range(len(at) + 1)]
        return {"schedule": "steps", "values": values, "at": at}
    return {"schedule": kind, "start": draw(value), "end": draw(value)}


@given(documents())
def test_is_written_as_it_was_read(document: Any) -> None:
    schedule = Schedule.parse(document)
    text = yaml.safe_dump(document)
    assert yaml.safe_dump(schedule.dump()) == text
    assert Schedule.parse(yaml.safe_load(text)) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert hash(schedule) == hash(Schedule.parse(document))


@given(documents(), fractions)
def test_stays_within_its_range(document: Any, u: float) -> None:
    schedule = Schedule.parse(document)
    low, high = schedule.values_range()
    assert np.all(np.asarray(schedule.at(u)) >= low)
    assert np.all(np.asarray(schedule.at(u)) <= high)
    ends = np.concatenate([np.ravel(value) for value in schedule.values])
    assert (low, high) == (ends.min(), ends.max())


@given(numbers, numbers)
def test_meets_its_ends_exactly(start: float, end: float) -> None:
    for schedule in (Schedule.linear(start, end), Schedule.cosine(start, end)):
        assert schedule.at(0.0) == start
        assert schedule.at(1.0) == end


@given(numbers, fractions)
def test_equal_ends_are_a_constant(value: float, u: float) -> None:
    assert Schedule.linear(value, value).at(u) == Schedule.cosine(value, value).at(u) == value


@pytest.mark.parametrize("u", [0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_functions_of_the_fraction(u: float) -> None:
    assert Schedule.constant(3).at(u) == 3
    assert Schedule.linear(2, 6).at(u) == pytest.approx(2 + 4 * u)
    half_cosine = np.interp(math.cos(math.pi * u), [-1.0, 1.0], [6.0, 2.0])
    assert Schedule.cosine(2, 6).at(u) == pytest.approx(half_cosine)
    assert Schedule.linear([8, 4], [16, 6]).at(u) == pytest.approx((8 + 8 * u, 4 + 2 * u))


def test_steps_change_at_their_fraction() -> None:
    schedule = Schedule.steps(values=[1, 3, 2], at=[0.25, 0.75])
    seen = [schedule.at(u) for u in (0.0, 0.2499, 0.25, 0.5, 0.7499, 0.75, 1.0)]
    assert seen == [1, 1, 3, 3, 3, 2, 2]


def test_scalar_and_pair() -> None:
    assert Schedule.constant(2).scalar(0.5) == 2
    assert Schedule.constant(2).pair(0.5) == (2, 2)
    assert Schedule.constant([2, 3]).pair(0.5) == (2, 3)
    with pytest.raises(ValueError, match="plain numbers, got lists of 2"):
        Schedule.constant([2, 3]).scalar(0.5)


@pytest.mark.parametrize("u", [-0.01, 1.01, math.nan])
def test_refuses_a_fraction_outside_the_run(u: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Schedule.linear(0, 1).at(u)


def test_equal_schedules_have_one_canonical_form() -> None:
    short, long = Schedule.parse(3), Schedule.parse({"schedule": "constant", "value": 3.0})
    assert short == long
    assert str(short.canonical()) == str(long.canonical())
    assert short.canonical() != Schedule.linear(3, 3).canonical()


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        ("3", ['got "3"', "a number, a list of numbers, or a mapping", "without quotes"]),
        (True, ["got true", "without quotes"]),
        (None, ["got null", "write a finite number"]),
        (math.inf, ["got Infinity", "finite"]),
        ([], ["got []", "write a finite number"]),
        ({"start": 1, "end": 2}, ["schedule: got null", "one of constant, linear", "write"]),
        ({"schedule": "linaer"}, ["schedule: got", "linaer", "{schedule: linear, start: …"]),
        ({"schedule": "linear", "start": 1}, ["end: missing", "add 'end: …'"]),
        (
            {"schedule": "linear", "start": 1, "ende": 2},
            ["ende: unknown key (value 2)", "did you mean 'end'?", "takes: start, end"],
        ),
        (
            {"schedule": "linear", "start": "a", "end": 2},
            ['start: got "a"', "a number or a list of them", "write"],
        ),
        (
            {"schedule": "cosine", "start": 1, "end": [2, 2]},
            ["got [1, [2, 2]]", "lists of one length", "same form"],
        ),
        ({"schedule": "steps", "values": 3, "at": []}, ["values: got 3", "a list", "write"]),
        ({"schedule": "steps", "values": [1, "x"], "at": [0.5]}, ['values[1]: got "x"']),
        (
            {"schedule": "steps", "values": [1, 2], "at": [0.5, 0.7]},
            ["at: got [0.5, 0.7]", "1 fractions for 2 values", "one fraction less"],
        ),
        ({"schedule": "steps", "values": [1, 2, 3], "at": [0.7, 0.5]}, ["at: got", "sort them"]),
        ({"schedule": "steps", "values": [1, 2], "at": [0.0]}, ["at: got [0.0]", "left out"]),
        ({"schedule": "steps", "values": [1, 2], "at": [1.0]}, ["at: got [1.0]", "left out"]),
        ({"schedule": "steps", "values": [1, 2], "at": 0.5}, ["at: got 0.5", "at: [0.3, 0.7]"]),
    ],
)
def test_names_what_is_wrong(document: Any, parts: list[str]) -> None:
    with pytest.raises(PlanError) as raised:
        Schedule.parse(document)
    for part in parts:
        assert part in str(raised.value)


class Bounded(StrictModel):
    ratio: Annotated[Schedule, within(0, 0.75)] = Schedule.constant(0.5)
    grid: Annotated[Schedule, within(1, lengths=(2,))] | None = None
    factor: Annotated[Schedule, within(1, lengths=(None, 2))] = Schedule.constant(2)


def test_bounds_are_checked_over_the_whole_run() -> None:
    config = Bounded(ratio={"schedule": "linear", "start": 0, "end": 0.75}, grid=[8, 8])
    assert config.grid == Schedule.constant([8, 8])
    assert Bounded(factor=[1, 2]).factor.pair(0) == (1, 2)
    assert config.model_dump(mode="json", exclude_defaults=True) == {
        "ratio": {"schedule": "linear", "start": 0, "end": 0.75},
        "grid": [8, 8],
    }


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        ({"ratio": -0.1}, ["ratio: got -0.1", "from 0 to 0.75", "use 0 or more"]),
        (
            {"ratio": {"schedule": "cosine", "start": 0.1, "end": 0.8}},
            ['"end": 0.8', "numbers from 0 to 0.75 over the whole run", "use 0.75 or less"],
        ),
        ({"ratio": [0.1, 0.1]}, ["got [0.1, 0.1]", "expected numbers", "write for instance 0"]),
        ({"grid": 8}, ["got 8", "lists of 2 numbers of at least 1", "write for instance [1, 1]"]),
        ({"factor": [1, 1, 1]}, ["numbers or lists of 2 numbers", "write for instance 1"]),
    ],
)
def test_bounds_name_what_is_wrong(keys: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(PlanError) as raised:
        Bounded(**keys)
    for part in parts:
        assert part in str(raised.value)
