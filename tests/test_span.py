"""Half-open ranges of layers and steps."""

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dit_accel.errors import PlanError
from dit_accel.span import WHOLE, Span

counts = st.integers(1, 100)
index_spans = st.tuples(st.integers(0, 99), st.integers(1, 100)).filter(lambda t: t[0] < t[1])
fraction_spans = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda t: t[0] < t[1])


@given(index_spans | fraction_spans)
def test_is_written_as_it_was_read(ends: tuple[float, float]) -> None:
    span = Span.parse(list(ends))
    assert span.dump() == list(ends)
    assert [type(end) for end in span.dump()] == [type(end) for end in ends]
    assert Span.parse(span) is span
    assert pickle.loads(pickle.dumps(span)) == span


@given(index_spans, counts)
def test_indices_are_taken_as_they_are_or_refused(ends: tuple[int, int], count: int) -> None:
    if ends[1] <= count:
        assert Span(*ends).resolve(count) == range(*ends)
    else:
        with pytest.raises(PlanError):
            Span(*ends).resolve(count)


@given(fraction_spans, counts)
def test_fractions_are_never_empty_nor_outside(ends: tuple[float, float], count: int) -> None:
    resolved = Span(*ends).resolve(count)
    assert 0 <= resolved.start < resolved.stop <= count


@given(st.floats(0.01, 0.99), counts)
def test_two_parts_cover_the_whole(middle: float, count: int) -> None:
    covered = {*Span(0.0, middle).resolve(count), *Span(middle, 1.0).resolve(count)}
    assert covered == set(range(count))


def test_fractions_round_to_the_nearest_index() -> None:
    assert Span(0.2, 0.8).resolve(10) == range(2, 8)
    assert WHOLE.resolve(28) == range(28)
    assert Span(0.99, 1.0).resolve(10) == range(9, 10)
    assert Span(0.0, 0.01).resolve(10) == range(1)


def test_indices_and_fractions_of_equal_value_differ() -> None:
    first_layer, all_layers = Span(0, 1), Span(0.0, 1.0)
    assert first_layer != all_layers
    assert first_layer.resolve(10) == range(1)
    assert all_layers.resolve(10) == range(10)


@given(index_spans, index_spans)
def test_overlap_is_a_common_index(a: tuple[int, int], b: tuple[int, int]) -> None:
    assert Span(*a).overlaps(Span(*b)) == bool(set(range(*a)) & set(range(*b)))


def test_overlap_of_different_units() -> None:
    assert Span(0, 4).overlaps(Span(0.0, 0.5)) is None
    assert Span(0, 4).overlaps(WHOLE) is True
    assert WHOLE.overlaps(Span(30, 40)) is True
    assert Span(0.0, 0.5).overlaps(Span(0.5, 1.0)) is False


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        (3, ["got 3", "[start, stop)", "write a list of two numbers"]),
        ([1, 2, 3], ["got [1, 2, 3]", "[start, stop)", "write a list of two"]),
        ("2-6", ['got "2-6"', "such as [2, 6]", "write a list of two"]),
        (["a", "b"], ['got ["a", "b"]', "two indices", "write two finite numbers"]),
        ([False, True], ["got [false, true]", "write two finite numbers"]),
        ([0.0, float("nan")], ["NaN", "write two finite numbers"]),
        ([0, 0.5], ["got [0, 0.5]", "both", "write [0.0, 0.5] if these are fractions"]),
        ([2.0, 6.0], ["got [2.0, 6.0]", "fractions from 0.0 to 1.0", "write integers"]),
        ([-1, 3], ["got [-1, 3]", "from 0 upwards", "count from the start"]),
        ([6, 2], ["got [6, 2]", "start < stop", "swap the ends"]),
        ([3, 3], ["got [3, 3]", "start < stop", "remove the key"]),
    ],
)
def test_names_what_is_wrong(document: Any, parts: list[str]) -> None:
    with pytest.raises(PlanError) as raised:
        Span.parse(document)
    for part in parts:
        assert part in str(raised.value)


def test_names_an_index_outside() -> None:
    with pytest.raises(PlanError) as raised:
        Span(20, 40).resolve(10, "merge.layers")
    for part in ("merge.layers: got [20, 40]", "there are 10 layers (0..9)", "[5, 10]", "[0.5"):
        assert part in str(raised.value)
