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
from dit_accel.sampling.loading import load_pipeline

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


def test_the_transformer_is_never_rounded_to_the_rest(open_session, tiny_dit):
    """Text encoder and autoencoder may be in half precision; teacher and masters are not."""
    stock = load_pipeline(str(tiny_dit), "float32", "cpu").transformer.state_dict()
    session = open_session(dtype="bfloat16", train="all")
    assert next(session.pipe.vae.parameters()).dtype == torch.bfloat16
    for transformer in (session.loss.teacher, session.student.transformer):
        found = transformer.state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in stock.items())
    assert load_adapter(session.train()).record.steps == 6
