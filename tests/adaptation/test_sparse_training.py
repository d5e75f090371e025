"""Density sparse, adapted: learned parts that start from a fit, train, and are found again."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from tiny_adaptations import SPARSE
from typer.testing import CliRunner

import dit_accel
from dit_accel.adapters import load_adapter
from dit_accel.cli.app import app
from dit_accel.errors import DitAccelError
from dit_accel.install import at_step
from dit_accel.learned_parts import learned_parts
from dit_accel.sampling.loading import load_pipeline

PLAN = {"density": SPARSE}
STEPS = 4
RENOISED = {"kind": "trajectories", "samples": 12, "batch_size": 6, "renoise": 0.5}


@pytest.mark.parametrize(("train", "rate"), [("new", 2e-3), ("all", 3e-4)])
def test_it_comes_nearer_from_a_calibrated_start(open_session, train, rate):
    loop = {"steps": 40, "learning_rate": rate, "checkpoint_every": 40, "preview_every": 40}
    session = open_session(train=train, plan=PLAN, loop=loop)
    score = load_adapter(session.train()).record.score
    assert score["relative_error_calibrated"] < 0.95 * score["relative_error_untrained"]
    assert score["relative_error"] < 0.95 * score["relative_error_calibrated"]


def test_new_parts_alone_leave_the_model_as_it_was(open_session):
    session = open_session(train="new", plan=PLAN)
    adapter = load_adapter(session.train())
    assert adapter.changed_weights == ()
    assert {name.partition(".")[0] for name in adapter.learned} == {"segment_0", "segment_1"}
    trained = session.student.trained
    assert trained and all(name.startswith("learned.") for name in trained)


def test_every_grid_of_the_schedule_is_drawn(open_session, monkeypatch):
    """And never the dense step, which is the base model's."""
    for train in ("new", "all"):
        session = open_session(train, train=train, plan=PLAN)
        block, seen = session.student.transformer.transformer_blocks[0], Counter()
        block.ff.register_forward_hook(lambda _, args, out, seen=seen: seen.update([out.shape[1]]))
        for number in range(24):
            session.backward(number, 1.0)
        assert set(seen) == {4, 16}
        assert sum(seen.values()) == 24


@pytest.mark.parametrize("train", ["new", "all"])
def test_the_adapter_fills_the_parts(open_session, tiny_dit, train):
    """A fresh pipeline under the adapter computes what the student does, or the teacher."""
    session = open_session(adapter_dtype="float32", train=train, plan=PLAN)
    folder = session.train().parent
    fresh = load_pipeline(str(tiny_dit), "float32", "cpu")
    dit_accel.accelerate(fresh.transformer, folder)
    with session.loop.averaged(), torch.no_grad():
        wanted = session.student.learned.state_dict()
        for name, tensor in learned_parts(fresh.transformer).state_dict().items():
            assert torch.equal(tensor, wanted[name])
        for step in range(STEPS):
            batch = session.draws.scoring(step)
            arguments, outputs = session.loss.arguments(batch), []
            trained = step in session.draws.steps
            model = session.student.transformer if trained else session.loss.teacher
            for transformer in (model, fresh.transformer):
                with at_step(transformer, step, STEPS):
                    outputs.append(transformer(batch.states, **arguments, return_dict=False)[0])
            torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5, rtol=1e-5)


def test_generate_uses_it(open_session, tiny_dit, tmp_path):
    folder = open_session(train="new", plan=PLAN).train().parent
    config = tmp_path / "config.yaml"
    config.write_text(
        f"model: {tiny_dit}\nclass_labels: [cat, rocket]\nnum_inference_steps: 4\nrounds: 1\n"
        f"output: {tmp_path / 'out'}\n"
    )
    result = CliRunner().invoke(app, ["generate", str(config), "--plan", str(folder)])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["candidates"]["plan"]["macs"] < report["candidates"]["dense"]["macs"]
    assert (tmp_path / "out/grid.png").exists()


def test_no_step_is_needed_for_what_is_fitted_in_closed_form(open_session):
    loop = {"steps": 0}
    adapter = load_adapter(open_session(train="new", plan=PLAN, loop=loop).train())
    score = adapter.record.score
    assert adapter.record.steps == 0
    # the file is in half precision, the score is of the parts before
    assert score["relative_error"] == pytest.approx(score["relative_error_calibrated"])
    assert score["relative_error"] < score["relative_error_untrained"]


def test_without_calibration_it_starts_as_the_stated_form(open_session):
    parts = open_session(train="new", plan=PLAN, calibrate=False).student.learned
    for part in parts.values():
        assert not part.change.weight.any() and not part.detail.weight.any()


def test_a_form_without_a_fit_trains_too(open_session):
    layout = {"segments": 1, "group": [1, 1, 1, 1]}
    density = {"kind": "sparse", "pool": 2, "form": "paper", "layout": layout}
    score = load_adapter(open_session(train="new", plan={"density": density}).train()).record.score
    assert score.keys() == {"relative_error", "relative_error_untrained"}
    assert score["relative_error"] < score["relative_error_untrained"]


def test_frozen_parameters_are_not_in_the_adapter(open_session):
    session = open_session(train="all", plan=PLAN, freeze=[".emb.", "pos_embed"])
    adapter = load_adapter(session.train())
    own = {name for name, _ in session.loss.teacher.named_parameters()}
    left_out = own - set(adapter.changed_weights)
    assert left_out == {name for name in own if ".emb." in name or name.startswith("pos_embed")}
    with pytest.raises(DitAccelError, match=r"freeze: got \".embed.\", expected a part"):
        open_session("other", train="all", plan=PLAN, freeze=[".embed."])


def test_half_of_the_batches_are_last_states_noised_afresh(open_session):
    session = open_session(plan=PLAN, data=RENOISED)
    latents = session.draws.fresh.arrays.read("latents", torch.arange(12))
    assert latents.shape == (12, 4, 8, 8)
    batches = [session.draws.training(number) for number in range(40)]
    fresh = [(batch, step) for batch, step in batches if batch.outputs is None]
    assert 10 < len(fresh) < 30
    for batch, step in fresh:
        first, last = session.draws.levels.interval(step)
        assert ((first <= batch.timesteps) & (batch.timesteps <= last)).all()
    number = next(n for n in range(40) if batches[n][0].outputs is None)
    assert session.backward(number, 1.0) > 0  # the teacher has been asked
    # what is held out is scored on the trajectories alone
    assert all(session.draws.scoring(step).outputs is not None for step in range(STEPS))
    torch.testing.assert_close(
        open_session("again", plan=PLAN, data=RENOISED).draws.training(number)[0].states,
        batches[number][0].states,
    )
