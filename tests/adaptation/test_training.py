"""What is trained, on what, and what comes of it."""

from __future__ import annotations

import pytest
import torch
from tiny_adaptations import POOLED, SPARSE

import dit_accel
from dit_accel.adaptation.denoising import Denoising
from dit_accel.adaptation.session import Session
from dit_accel.adaptation.trajectories import Trajectories
from dit_accel.adapters import load_adapter
from dit_accel.errors import DitAccelError
from dit_accel.install import at_step
from dit_accel.sampling.batch import ImageBatch, denoise
from dit_accel.sampling.loading import load_pipeline
from dit_accel.training.checkpoint import read_json


def test_data_free_samples_are_a_function_of_the_config(open_session, tmp_path):
    first, second = open_session("a"), open_session("b")
    other = open_session("c", seed=1)
    draws = [session.draws.training(5) for session in (first, second, other)]
    assert torch.equal(draws[0][0].states, draws[1][0].states)
    assert torch.equal(draws[0][0].outputs, draws[1][0].outputs)
    assert not torch.equal(draws[0][0].states, draws[2][0].states)
    assert not torch.equal(draws[0][0].states, first.draws.training(6)[0].states)
    files = {path.name for path in (tmp_path / "a" / "trajectories").glob("*.npy")}
    assert len(files) == 6  # states, outputs and latents of two batches
    for name in files:
        runs = [(tmp_path / run / "trajectories" / name).read_bytes() for run in "ab"]
        assert runs[0] == runs[1]


@pytest.mark.parametrize("scheduler", ["DDIM", "Euler", "DPMSolver++"])
def test_samples_lie_on_the_teachers_trajectory(open_session, scheduler):
    """Asked again at a cached state, the teacher says what was cached, dropped labels or not."""
    session = open_session(run={"scheduler": scheduler})
    draws, loss = session.draws, session.loss
    samples = torch.arange(6)
    for step in range(4):
        for dropped in (torch.zeros(6, dtype=torch.bool), torch.arange(6) % 2 == 0):
            batch = draws.source.batch(samples, dropped, step, torch.Generator())
            with torch.no_grad():
                found = loss.teacher(batch.states, **loss.arguments(batch), return_dict=False)[0]
            # half precision on the disk
            torch.testing.assert_close(found, batch.outputs, atol=1e-2, rtol=1e-2)
    assert (batch.conditions[dropped] == 0).all() and (batch.conditions[~dropped] > 0).all()


def test_outputs_that_would_not_be_used_are_not_kept(open_session, tmp_path):
    """Features are compared with those of a teacher that is asked again, and so says its output."""
    session = open_session(objective={"features": 0.3}, loop={"steps": 2})
    kept = {path.name.partition("-")[0] for path in (tmp_path / "run/trajectories").glob("*.npy")}
    assert kept == {"states", "latents"}
    assert session.draws.training(0)[0].outputs is None
    assert session.draws.scoring(0).outputs is None
    assert load_adapter(session.train()).record.steps == 2


def test_trainings_share_their_trajectories(open_session, tmp_path, monkeypatch):
    made = []
    make = Trajectories.make
    monkeypatch.setattr(
        Trajectories, "make", lambda self, rows: (made.append(rows), make(self, rows))[1]
    )
    data = {"kind": "trajectories", "batch_size": 6, "cache": str(tmp_path / "shared")}
    first = open_session("a", data={**data, "samples": 12})
    assert made == [range(6), range(6, 12)]
    second = open_session("b", train="lora", data={**data, "samples": 18})
    assert made[2:] == [range(12, 18)]
    samples = torch.arange(12)
    for name in ("states", "outputs", "latents"):
        rows = [each.draws.source.arrays.read(name, samples) for each in (first, second)]
        assert torch.equal(*rows)
    with pytest.raises(DitAccelError, match=r"another model or config .*data.cache"):
        open_session("c", data={**data, "samples": 12}, run={"guidance_scale": 3.0})


def test_a_number_beyond_half_precision_is_named(open_session, monkeypatch):
    def overflowing(self, pipe, rows, seeds):
        latents = denoised(self, pipe, rows, seeds)
        latents[2] *= 1e9
        return latents

    denoised = Denoising.latents
    monkeypatch.setattr(Denoising, "latents", overflowing)
    with pytest.raises(
        DitAccelError, match=r"latents of the teacher in trajectory 2, step 0.*bf16"
    ):
        open_session()


def test_held_out_samples_are_never_drawn(open_session):
    session = open_session()
    held_out = {
        state.half().numpy().tobytes()
        for step in range(4)
        for state in session.draws.scoring(step).states
    }
    assert len(held_out) == 16
    for number in range(30):
        batch, _ = session.draws.training(number)
        drawn = {state.half().numpy().tobytes() for state in batch.states}
        assert not drawn & held_out


@pytest.mark.parametrize("train", ["new+norm", "lora", "all"])
def test_it_comes_nearer_to_its_teacher(open_session, train):
    session = open_session(train=train, loop={"steps": 60, "checkpoint_every": 60})
    adapter = load_adapter(session.train())
    score = adapter.record.score
    assert score["relative_error"] < 0.9 * score["relative_error_untrained"]
    start = read_json(session.config.folder / "start.json")
    assert start == {"relative_error_untrained": score["relative_error_untrained"]}


def test_the_adapter_is_the_student(open_session, tiny_dit):
    """A fresh pipeline under the adapter computes what the trained student does."""
    session = open_session(adapter_dtype="float32", train="lora", loop={"steps": 8})
    folder = session.train().parent
    fresh = load_pipeline(str(tiny_dit), "float32", "cpu")
    dit_accel.accelerate(fresh.transformer, folder)
    batch = session.draws.scoring(0)
    with session.loop.averaged(), torch.no_grad():
        outputs = []
        for transformer in (session.student.transformer, fresh.transformer):
            with at_step(transformer, 0, 4):
                arguments = session.loss.arguments(batch)
                outputs.append(transformer(batch.states, **arguments, return_dict=False)[0])
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5, rtol=1e-5)


def test_only_what_is_to_train_has_changed_and_the_teacher_never(open_session, tiny_dit):
    stock = load_pipeline(str(tiny_dit), "float32", "cpu").transformer.state_dict()
    session = open_session()
    session.train()
    for name, tensor in session.loss.teacher.state_dict().items():
        assert torch.equal(tensor, stock[name])
    trained = session.student.transformer.state_dict()
    changed = {name for name in stock if not torch.equal(trained[name], stock[name])}
    assert changed and all(".norm1.linear." in name for name in changed)


def test_what_does_not_train_is_shared_with_the_teacher(open_session):
    session = open_session()
    own = {id(each) for each in session.student.trained.values()}
    teachers = {id(each) for each in session.loss.teacher.parameters()}
    assert not own & teachers
    assert {id(each) for each in session.student.parameters()} - own <= teachers


def number_of(session: Session, scheduled: bool) -> int:
    """Of the first batch that runs on its step's own grid, or on another one."""
    draws = session.draws
    return next(
        number
        for number in range(99)
        if (draws.grid(number, step := draws.training(number)[1]) == draws.grids.scheduled[step])
        == scheduled
    )


def test_gradient_checkpointing_changes_no_gradient(open_session):
    """Computed again in the backward pass, a forward is on the same tokens."""
    gradients = []
    for name, checkpointing in (("a", False), ("b", True)):
        session = open_session(
            name,
            plan={"density": SPARSE},
            gradient_checkpointing=checkpointing,
            objective={"features": 0.3},
            other_grids=0.5,
        )
        assert session.student.transformer.is_gradient_checkpointing == checkpointing
        for scheduled in (True, False):
            assert session.backward(number_of(session, scheduled), 1.0) > 1e-3
        gradients.append({n: p.grad for n, p in session.student.trained.items()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_accumulated_batches_are_one_larger_batch(open_session):
    """Gradients add up to their mean."""
    session = open_session()
    session.backward(0, 0.5)
    session.backward(1, 0.5)
    both = {name: p.grad.clone() for name, p in session.student.trained.items()}
    single = []
    for number in (0, 1):
        session.student.zero_grad()
        session.backward(number, 1.0)
        single.append({name: p.grad.clone() for name, p in session.student.trained.items()})
    for name, gradient in both.items():
        torch.testing.assert_close(gradient, (single[0][name] + single[1][name]) / 2)


def test_new_alone_needs_new_parts(open_session):
    with pytest.raises(DitAccelError, match="leaves nothing to train"):
        open_session(train="new")


def test_lora_layers_that_match_nothing_are_refused(open_session):
    with pytest.raises(DitAccelError, match=r"lora.layers: got .*to_quarry"):
        open_session(train="lora", lora={"layers": ["to_quarry"]})


def test_pixart_by_texts_with_previews(open_session, tiny_pixart, tmp_path):
    data = {
        "kind": "trajectories",
        "samples": 8,
        "batch_size": 4,
        "prompts": ["a cat", "a dog on moon"],
    }
    plan = {"density": {**POOLED, "layers": [0, 1]}}
    session = open_session(
        model=tiny_pixart, data=data, plan=plan, previews=2, objective={"weighting": "min_snr"}
    )
    path = session.train()
    assert (session.config.folder / "previews" / "000006.png").exists()
    pipe = load_pipeline(str(tiny_pixart), "float32", "cpu")
    from dit_accel.sampling.texts import encode_each

    batch = ImageBatch((1, 2), 2.0, prompts=("a cat", "rocket"))
    conditions = encode_each(pipe, batch.prompts, True)
    dense = denoise(pipe, batch, conditions, 4)
    adapted = denoise(dit_accel.accelerate(pipe, path.parent), batch, conditions, 4)
    assert not torch.equal(adapted, dense)
    assert torch.equal(denoise(dit_accel.restore(pipe), batch, conditions, 4), dense)
