"""Fields of a frontier's config that plain types do not express."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from dit_accel.measure.candidates import Base
from dit_accel.sampling.solvers import DETERMINISTIC_SOLVERS, SOLVERS, expected_solver


def read_base(value: Any) -> Base:
    """Read `UniPC:20`.

    Raises:
        ValueError: it is not a deterministic solver and a number of steps.
    """
    if isinstance(value, Base):
        return value
    solver, _, steps = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not steps.isdecimal() or not int(steps):
        raise ValueError("expected SOLVER:STEPS; write for instance UniPC:20")
    _check_deterministic(solver)
    return Base(solver, int(steps))


def _check_deterministic(solver: str) -> None:
    if solver not in SOLVERS:
        raise ValueError(expected_solver(solver))
    if solver not in DETERMINISTIC_SOLVERS:
        raise ValueError(
            f"expected a deterministic solver ({', '.join(DETERMINISTIC_SOLVERS)}); noise drawn on"
            " the way leaves nothing to compare picture by picture"
        )


def read_dense(value: Any) -> Any:
    """Read `{UniPC: [8, 16], DDIM: [50]}` as tuples of bases, in their order.

    Raises:
        ValueError: for an unknown solver, or steps that are not different positive numbers.
    """
    if not isinstance(value, Mapping):
        return value
    found = []
    for solver, steps in value.items():
        _check_deterministic(str(solver))
        if not isinstance(steps, list | tuple) or not all(_is_count(count) for count in steps):
            raise ValueError(f"expected a list of steps for {solver}; write {solver}: [8, 16, 50]")
        if len(set(steps)) < len(steps):
            raise ValueError(f"expected each number of steps of {solver} once; remove the others")
        found += [Base(str(solver), count) for count in sorted(steps)]
    return tuple(found)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def read_grid(value: Any) -> Any:
    """Read `{threshold: [0.1, 0.2], first: 1}`: what is no list is a list of one."""
    if not isinstance(value, Mapping):
        return value
    return {
        str(key): tuple(item) if isinstance(item, list | tuple) else (item,)
        for key, item in value.items()
    }


BaseField = Annotated[Base, BeforeValidator(read_base)]
"""`UniPC:20`."""
DenseField = Annotated[tuple[Base, ...], BeforeValidator(read_dense)]
"""`{UniPC: [8, 16]}`."""
GridField = Annotated[dict[str, tuple[Any, ...]], BeforeValidator(read_grid)]
"""`{threshold: [0.1, 0.2]}`."""
