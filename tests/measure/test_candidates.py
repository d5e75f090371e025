"""Which runs a benchmark makes."""

import pytest

from dit_accel import DitAccelError, Plan
from dit_accel.measure.candidates import Base, candidates, parse_base

PLANS = {"a": Plan(), "b": Plan()}


def test_three_step_counts_of_three_solvers() -> None:
    rows = candidates([Base("UniPC", 20)], PLANS, with_rivals=True)
    assert [row.name for row in rows[:3]] == ["dense, UniPC 20", "a, UniPC 20", "b, UniPC 20"]
    rivals = {(row.run.solver, row.run.num_inference_steps) for row in rows[3:]}
    assert rivals == {(s, n) for s in ("DDIM", "DPMSolver++", "UniPC") for n in (15, 10, 7)}


def test_rivals_follow_the_best_base_and_names_are_unique() -> None:
    bases = [Base("UniPC", 20), Base("DDIM", 50)]
    rows = candidates(bases, PLANS, with_rivals=True)
    assert max(row.run.num_inference_steps for row in rows if row.kind == "fewer_steps") == 15
    assert len({row.name for row in rows}) == len(rows) == 2 * 3 + 9


def test_without_pictures_there_are_no_rivals() -> None:
    rows = candidates([Base("UniPC", 20)], PLANS, with_rivals=False)
    assert {row.kind for row in rows} == {"dense", "plan"}


def test_base_from_text() -> None:
    assert parse_base("DDIM:50", 20) == Base("DDIM", 50)
    assert parse_base("UniPC", 20) == Base("UniPC", 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [("unipc", "did you mean 'UniPC'"), ("DDPM", "deterministic"), ("DDIM:x", "as in UniPC:20")],
)
def test_wrong_bases_are_refused(text: str, message: str) -> None:
    with pytest.raises(DitAccelError, match=message):
        parse_base(text, 20)
