"""Whether a cell lies in ranges of layers and steps, with and without a known length."""

from __future__ import annotations

import pytest

from dit_accel.methods.cell import NOTHING, Cell, Operators
from dit_accel.methods.kv_downsample import DownsampledKeysValues
from dit_accel.methods.pooled_density import PooledBlock
from dit_accel.span import Span
from dit_accel.tokens.grid import Grid

GRID = Grid(8, 8)
ALL = Span(0.0, 1.0)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (Span(0, 3), [0, 1, 2]),
        (Span(0.5, 1.0), [5, 6, 7, 8, 9]),
        (Span(4, 5), [4]),
        (ALL, [*range(10)]),
    ],
)
def test_steps_of_a_run_of_known_length(steps: Span, expected: list[int]) -> None:
    cells = [Cell(0, 4, step, 10, step / 9, GRID) for step in range(10)]
    assert [cell.step for cell in cells if cell.within(ALL, steps)] == expected


def test_layers_of_the_model() -> None:
    cells = [Cell(layer, 8, 0, 10, 0.0, GRID) for layer in range(8)]
    assert [cell.layer for cell in cells if cell.within(Span(0.25, 0.5), ALL)] == [2, 3]
    assert [cell.layer for cell in cells if cell.within(Span(6, 8), ALL)] == [6, 7]


@pytest.mark.parametrize(
    ("steps", "step", "fraction", "inside"),
    [
        (Span(0.0, 0.5), 7, 0.4, True),
        (Span(0.0, 0.5), 7, 0.5, False),
        (Span(0.5, 1.0), 7, 1.0, True),
        (Span(2, 4), 3, 0.9, True),
        (Span(2, 4), 4, 0.1, False),
        (Span(0, 1), 1, 1.0, False),
    ],
)
def test_without_a_length_the_fraction_or_the_index_decides(
    steps: Span, step: int, fraction: float, inside: bool
) -> None:
    assert Cell(0, 4, step, None, fraction, GRID).within(ALL, steps) is inside


def test_labels_name_what_is_active() -> None:
    assert NOTHING.labels() == ()
    operators = Operators(
        density=PooledBlock(GRID, Grid(4, 2)), attention=DownsampledKeysValues(GRID, 2)
    )
    assert operators.labels() == ("pool 4x2", "kv/2")
