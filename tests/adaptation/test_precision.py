"""Teacher and student compute in one precision, whatever they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from diffusers.models.attention import FeedForward
from tiny_adaptations import SPARSE
from torch.nn.modules.module import register_module_forward_hook

from dit_accel.adapters import load_adapter

RENOISED = {"kind": "trajectories", "samples": 12, "batch_size": 6, "renoise": 0.5}


@contextmanager
def precisions() -> Iterator[set[torch.dtype]]:
    """What every transformer's feed-forwards come out in."""
    seen: set[torch.dtype] = set()

    def note(module: Any, args: Any, output: Any) -> None:
        if isinstance(module, FeedForward):
            seen.add(output.dtype)

    handle = register_module_forward_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize(("precision", "dtype"), [("no", torch.float32), ("bf16", torch.bfloat16)])
def test_trajectories_fit_scores_steps_and_previews_are_of_one_precision(
    open_session, precision, dtype
):
    with precisions() as seen:
        session = open_session(
            plan={"density": SPARSE},
            data=RENOISED,
            objective={"features": 0.1},
            mixed_precision=precision,
            previews=2,
        )
        session.train()
    assert seen == {dtype}
    assert (session.config.folder / "previews" / "000006.png").exists()
    # what is optimised and kept is not rounded
    assert {each.dtype for each in session.student.trained.values()} == {torch.float32}


def test_the_scores_can_be_compared(open_session):
    """Of what is fitted in closed form and not trained, the last score is the one before."""
    session = open_session(
        train="new", plan={"density": SPARSE}, loop={"steps": 0}, mixed_precision="bf16"
    )
    score = load_adapter(session.train()).record.score
    assert score["relative_error"] == pytest.approx(score["relative_error_calibrated"], rel=1e-6)
    assert score["relative_error"] < score["relative_error_untrained"]
