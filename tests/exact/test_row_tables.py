"""Which rows are computed, how many at a time, and that a row is found again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dit_accel.exact.forward import Forward, Key
from dit_accel.exact.row_tables import RowTables, as_rows, keys_to_build

numbers = st.integers(0, 5)


def test_all_coming_steps_of_the_distinct_rows() -> None:
    keys = [(9, 1), (9, 2), (9, 1), (9, 2)]
    assert keys_to_build(keys, [9, 5, 5, 1], most=100) == [
        *((9, 1), (9, 2)),
        *((5, 1), (5, 2)),
        *((1, 1), (1, 2)),
    ]
    assert keys_to_build([(5, 1)], [9, 5, 1], most=100) == [(5, 1), (1, 1)]


def test_no_more_steps_than_the_budget_allows() -> None:
    keys = [(9, 1), (9, 2)]
    assert keys_to_build(keys, [9, 5, 1], most=5) == [(9, 1), (9, 2), (5, 1), (5, 2)]
    assert keys_to_build(keys, [9, 5, 1], most=0) == keys


@pytest.mark.parametrize("keys", [[(7, 1)], [(9, 1), (5, 1)]])
def test_unannounced_and_mixed_timesteps_are_computed_alone(keys: list[Key]) -> None:
    assert keys_to_build(keys, [9, 5, 1], most=100) == keys


@given(st.lists(st.tuples(numbers, numbers), min_size=1), st.lists(numbers), st.integers(0, 20))
def test_every_row_is_found_and_none_is_there_twice(
    keys: list[Key], upcoming: list[float], most: int
) -> None:
    built = keys_to_build(keys, upcoming, most)
    assert set(keys) <= set(built)
    assert len(set(built)) == len(built) <= max(most, len(set(keys)))


def forward_of(keys: list[Key], branch: int = 0) -> Forward:
    return Forward({}, branch, (), keys, (), (), True, None)


def test_rows_are_built_once_a_branch_and_found_again() -> None:
    tables, built = RowTables(1000), []

    def build(keys: Any) -> tuple[torch.Tensor, ...]:
        built.append(list(keys))
        return (torch.tensor([10.0 * time + label for time, label in keys]),)

    for time in (3, 2, 1):
        for branch, labels in enumerate(((1, 2), (9, 9))):
            keys = [(time, label) for label in labels]
            (table,), rows = tables.find(forward_of(keys, branch), (3, 2, 1), 4, build)
            assert table[rows].tolist() == [10 * time + label for label in labels]
    assert [len(keys) for keys in built] == [6, 3]
    assert tables.nbytes == 4 * 9
    tables.find(forward_of([(7, 1)]), (3, 2, 1), 4, build)
    assert built[2:] == [[(7, 1)]]
    tables.clear()
    assert tables.nbytes == 0


def test_host_values_take_the_shape_and_the_dtype_of_a_tensor() -> None:
    like = torch.zeros(5, 2, dtype=torch.bfloat16)
    rows = as_rows(like, [(1, 2), (3, 4), (5, 6)])
    assert rows.dtype == torch.bfloat16 and rows.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert as_rows(torch.tensor([7]), [(1,), (2,)]).tolist() == [1, 2]
