"""MACs of sparse-dense networks: what `explain` counts against the closed formulas of each block.

The formulas are those of the paper's fact sheet (adaLN heads, embeddings and norms left out), with
the two savings that it names: value and output projections of a poolingformer on the mean token,
and the first linear of a recovery on the sparse tokens. Form delta has one matrix for the sparse
tokens, and one for both kinds, which a plan may leave out.
"""

from __future__ import annotations

import pytest

from dit_accel.measure.architectures import load_architecture
from dit_accel.measure.explain import explain
from dit_accel.measure.plan_macs import Workload, run_cost
from dit_accel.plan import Plan

C, DEPTH, TEXT = 1152, 28, 120


def text(n: int, length: int) -> float:
    """Cross-attention of n queries; a text of length 0 has none."""
    return (2 * n * C**2 + 2 * length * C**2 + 2 * n * length * C) if length else 0


def dense(n: int, length: int = 0) -> float:
    return 12 * n * C**2 + 2 * n**2 * C + text(n, length)


def pooling(n: int, length: int = 0) -> float:
    return 8 * n * C**2 + 2 * C**2 + text(n, length)


def merge(n: int, m: int, length: int = 0) -> float:
    return 2 * m * C**2 + 2 * n * C**2 + 2 * m * n * C + 8 * m * C**2 + text(m, length)


def recover(n: int, m: int, length: int = 0, form: str = "paper") -> float:
    linears = {"paper": n + m, "delta": n + 2 * m, "no detail": m}[form] * C**2
    return linears + 2 * n * C**2 + 2 * m * C**2 + 2 * m * n * C + 8 * n * C**2 + text(n, length)


def network(n: int, m: int, length: int, form: str) -> float:
    """2 / 4 x [1, 3, 1, 1] / 2."""
    module = merge(n, m, length) + 3 * dense(m, length) + dense(n, length)
    module += recover(n, m, length, form)
    return 2 * pooling(n, length) + 4 * module + 2 * dense(n, length)


def test_the_formulas_are_those_of_the_fact_sheet() -> None:
    """Its tables of GMAC, and what a recovery saves against them."""
    assert [round(block / 1e9, 3) for block in (dense(256), pooling(256), dense(64))] == [
        *(4.228, 2.721, 1.029)
    ]
    assert [round(merge(256, s * s) / 1e9, 3) for s in (6, 8, 10, 12)] == [
        *(1.178, 1.567, 2.066, 2.675)
    ]
    sheet = [4.194, 4.284, 4.401, 4.544]
    for side, published in zip((6, 8, 10, 12), sheet, strict=True):
        saved = (256 - side**2) * C**2
        assert (recover(256, side**2) + saved) / 1e9 == pytest.approx(published, abs=1e-3)


@pytest.mark.parametrize(
    ("model", "tokens", "side", "length", "form"),
    [
        ("DiT-XL-2-256", 256, 8, 0, "delta"),
        ("DiT-XL-2-256", 256, 10, 0, "paper"),
        ("DiT-XL-2-256", 256, 12, 0, "no detail"),
        ("DiT-XL-2-512", 1024, 8, 0, "delta"),
        ("DiT-XL-2-512", 1024, 20, 0, "delta"),
        ("PixArt-XL-2-512", 1024, 16, TEXT, "delta"),
    ],
)
def test_explain_counts_what_the_formulas_say(
    model: str, tokens: int, side: int, length: int, form: str
) -> None:
    """The overhead around the blocks is the dense model's; 1 % is allowed, 0.2 % needed."""
    architecture = load_architecture(model)
    of_form = {"detail": False} if form == "no detail" else {"form": form}
    plan = Plan(density={"kind": "sparse", "grid": [side, side]} | of_form)
    workload = Workload(1, guided=False, text_tokens=TEXT)
    cost = run_cost(architecture, plan, workload)
    around = cost.macs_per_forward_dense - DEPTH * dense(tokens, length)
    assert around < 0.02 * cost.macs_per_forward_dense
    expected = around + network(tokens, side**2, length, form)
    assert cost.macs_plan == pytest.approx(expected, rel=2e-3)


def test_explain_shows_each_blocks_role_and_every_grid_of_the_schedule() -> None:
    grids = {"schedule": "steps", "values": [[6, 6], [8, 8], [16, 16]], "at": [0.4, 0.8]}
    plan = Plan(density={"kind": "sparse", "grid": grids})
    table = explain(load_architecture("DiT-XL-2-256"), plan, Workload(6, guided=False)).to_dict()
    first, third, last = (table["steps"][step]["layers"] for step in (0, 2, 5))
    assert first[:7] == [
        *(["pool mean"], ["pool mean"], ["merge 6x6"], ["sparse 6x6"], ["sparse 6x6"]),
        *(["sparse 6x6"], ["recover 6x6"]),
    ]
    assert third[2] == ["merge 8x8"] and third[7] == [] and last == [[]] * DEPTH
    assert table["steps"][5]["macs"] == table["macs_per_forward_dense"]
