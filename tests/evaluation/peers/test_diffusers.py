"""diffusers' own caches: they act on DiT and PixArt, start anew, and forecast as ours do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.hooks.taylorseer_cache import TaylorSeerState
from references import record
from tiny_models import TinyFamily, every_family

import dit_accel
from dit_accel.errors import DitAccelError, PlanError
from dit_accel.evaluation.peers.first_block import DiffusersFirstBlock
from dit_accel.evaluation.peers.taylorseer import DiffusersTaylorSeer
from dit_accel.forecast import weighted_sum
from dit_accel.forecast.predictors.taylor import taylor_weights
from dit_accel.plan import Plan

STEPS = 12
PEERS = [
    DiffusersFirstBlock(threshold=0.4),
    DiffusersTaylorSeer(interval=3),
    DiffusersTaylorSeer(interval=3, order=2, lite=True),
]
every_peer = pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.label)


def attached(family: TinyFamily, peer: Any, exact: Plan) -> tuple[Any, Any]:
    pipe = family.pipeline(dtype=torch.float64)
    return pipe, peer.attach(pipe, exact)


def run(family: TinyFamily, pipe: Any, attached: Any, steps: int = STEPS) -> torch.Tensor:
    attached.begin()
    return family.generate(pipe, (1,), steps)


@every_family
@every_peer
def test_acts_begins_anew_and_goes_with_the_exact_rewrites(family: TinyFamily, peer: Any) -> None:
    pipe, hooks = attached(family, peer, Plan())
    latents = run(family, pipe, hooks)
    assert hooks.nbytes > 0
    dense = family.generate(family.pipeline(dtype=torch.float64), (1,), STEPS)
    assert not torch.allclose(latents, dense, atol=1e-6)

    run(family, pipe, hooks, STEPS - 2)
    torch.testing.assert_close(run(family, pipe, hooks), latents, rtol=0, atol=0)

    other, rewritten = attached(family, peer, Plan(exact=True))
    torch.testing.assert_close(run(family, other, rewritten), latents, rtol=1e-9, atol=1e-9)
    assert dit_accel.summary(other).exact


@every_family
def test_lite_leaves_out_all_blocks_and_the_other_only_what_is_inside(family: TinyFamily) -> None:
    computed = {}
    for lite in (True, False):
        pipe, hooks = attached(family, DiffusersTaylorSeer(interval=3, lite=lite), Plan())
        modules = [block.norm1 for block in pipe.transformer.transformer_blocks]
        _, outputs, _ = record(modules)
        run(family, pipe, hooks)
        computed[lite] = [len(calls) for calls in outputs]
    # Steps 0 to 2 are the warm-up; then 4, 7 and 10.
    assert computed == {True: [6] * 4, False: [STEPS] * 4}


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_taylor_weights_are_diffusers_own(order: int) -> None:
    """On the outputs of a real block, with the gaps of a real schedule."""
    from tiny_models import TinyDiT

    family = TinyDiT()
    transformer = family.transformer(dtype=torch.float64)
    _, [outputs], _ = record([transformer.transformer_blocks[-1]])
    family.denoise(transformer, (1,), STEPS, "none")
    state = TaylorSeerState(torch.float64, order)
    times: list[int] = []
    forecasts = 0
    for step, output in enumerate(outputs):
        state.current_step = step
        if step < 3 or step in (4, 7, 9):
            state.update((output,))
            times.insert(0, step)
            continue
        kept = times[: order + 1]
        weights = torch.tensor(taylor_weights(kept, step, order))
        ours = weighted_sum([outputs[time] for time in kept], weights)
        torch.testing.assert_close(ours, state.predict()[0], rtol=1e-9, atol=1e-9)
        forecasts += 1
    assert forecasts == STEPS - 6


def test_what_cannot_run_is_refused_by_name() -> None:
    with pytest.raises(DitAccelError, match="diffusers_first_block: got 1, expected at least 2"):
        DiffusersFirstBlock().check(1)
    with pytest.raises(PlanError, match="interval: got 1"):
        DiffusersTaylorSeer(interval=1)


def test_labels() -> None:
    assert DiffusersFirstBlock(threshold=0.1).label == "diffusers first-block 0.1"
    assert DiffusersTaylorSeer().label == "diffusers TaylorSeer N5 O1 W3"
    assert DiffusersTaylorSeer(lite=True).label == "diffusers TaylorSeer lite N5 O1 W3"
