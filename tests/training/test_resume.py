"""A run killed and resumed is bit for bit the run that was never stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dit_accel.training.autoencoder import AutoencoderStage
from dit_accel.training.checkpoint import RunLog, load_if_present, save_atomically
from dit_accel.training.classifier import ClassifierStage
from dit_accel.training.config import LoopConfig, Recipe
from dit_accel.training.loop import learning_rate
from dit_accel.training.text_encoder import TextEncoderStage
from dit_accel.training.transformer_stage import TransformerStage

STAGES = {
    "autoencoder": AutoencoderStage,
    "classifier": ClassifierStage,
    "text_encoder": TextEncoderStage,
    "transformer": TransformerStage,
}
CASES = [
    ("finished", "autoencoder"),
    ("finished", "classifier"),
    ("finished", "transformer"),
    ("finished_text", "text_encoder"),
    ("finished_text", "transformer"),
]
SHARED = ("latents/bank.safetensors", "autoencoder/model", "text_encoder/model")


class KilledError(Exception):
    """Stands for the signal that ends a training process."""


def kill_after(loss: Callable, steps: int) -> Callable:
    """`loss`, until it has been asked for `steps` times."""
    calls = iter(range(steps))

    def lossy(step: int) -> torch.Tensor:
        if next(calls, None) is None:
            raise KilledError
        return loss(step)

    return lossy


def fresh_run(finished: Recipe, folder: Path, name: str = "transformer") -> Recipe:
    """The finished recipe in a new folder that shares only what other stages than `name` left."""
    for shared in SHARED:
        if (finished.output / shared).exists() and not shared.startswith(name):
            (folder / shared).parent.mkdir(parents=True)
            (folder / shared).symlink_to(finished.output / shared)
    return finished.model_copy(update={"output": folder})


def states_equal(left: object, right: object) -> bool:
    """Whether two nested checkpoint states hold identical bits."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(states_equal(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(states_equal, left, right))
    return left == right


@pytest.mark.parametrize(("recipe_run", "name"), CASES)
@pytest.mark.parametrize("killed_after", [2, 3])
def test_resumed_run_is_bit_exact(request, tmp_path, accelerator, recipe_run, name, killed_after):
    finished = request.getfixturevalue(recipe_run)
    config = fresh_run(finished, tmp_path / "resumed", name)
    first = STAGES[name](config, accelerator)
    with pytest.raises(KilledError):
        first.trainer.run(kill_after(first.loss, killed_after), first.preview)
    torch.manual_seed(12345)  # a new process has another global random state
    second = STAGES[name](config, accelerator)
    assert second.trainer.step == killed_after
    second.run()
    uninterrupted = load_if_present(finished.output / name / "checkpoint.pt")
    resumed = load_if_present(config.output / name / "checkpoint.pt")
    uninterrupted.pop("seconds"), resumed.pop("seconds")
    assert states_equal(uninterrupted, resumed)


@pytest.mark.parametrize(("recipe_run", "name"), CASES)
def test_resumed_run_logs_every_step_once_with_the_same_losses(
    request, tmp_path, accelerator, recipe_run, name
):
    finished = request.getfixturevalue(recipe_run)
    config = fresh_run(finished, tmp_path / "resumed", name)
    first = STAGES[name](config, accelerator)
    with pytest.raises(KilledError):
        first.trainer.run(kill_after(first.loss, 3), first.preview)
    # As if the kill had come after step 3 was logged but before it was saved.
    state = load_if_present(first.trainer.checkpoint)
    first.trainer.log.append({"step": 4, "loss": -1.0})
    STAGES[name](config, accelerator).run()
    assert state["step"] == 3
    assert losses(config, name) == losses(finished, name)


def losses(config: Recipe, name: str) -> list[tuple[int, float]]:
    records = RunLog(config.output / name / "log.jsonl").read()
    return [(record["step"], record["loss"]) for record in records if "loss" in record]


@pytest.mark.parametrize("recipe_run", ["finished", "finished_text"])
def test_the_data_order_does_not_depend_on_where_a_run_was_resumed(
    request, tmp_path, accelerator, recipe_run
):
    finished = request.getfixturevalue(recipe_run)
    config = fresh_run(finished, tmp_path / "other")
    fresh = TransformerStage(config, accelerator)
    resumed = TransformerStage(finished, accelerator)
    assert resumed.trainer.step == 4
    assert all(map(torch.equal, fresh.batch(9), resumed.batch(9)))
    assert not torch.equal(fresh.batch(9)[1], fresh.batch(10)[1])


def test_a_complete_stage_is_not_trained_again(finished, accelerator):
    stage = TransformerStage(finished, accelerator)
    stage.trainer.run(kill_after(stage.loss, 0), stage.preview)
    assert stage.trainer.step == 4


def test_a_run_can_be_resumed_towards_another_total(finished, tmp_path, accelerator):
    config = fresh_run(finished, tmp_path / "longer")
    TransformerStage(config, accelerator).run()
    loop = config.transformer.loop.model_copy(update={"steps": 6})
    transformer = config.transformer.model_copy(update={"loop": loop})
    longer = config.model_copy(update={"transformer": transformer})
    TransformerStage(longer, accelerator).run()
    assert load_if_present(config.output / "transformer" / "checkpoint.pt")["step"] == 6


def test_a_kill_while_saving_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save_atomically({"step": 1}, path)

    def half_written(state, stream):
        stream.write(b"half")
        raise KilledError

    monkeypatch.setattr(torch, "save", half_written)
    with pytest.raises(KilledError):
        save_atomically({"step": 2}, path)
    assert load_if_present(path) == {"step": 1}


def test_a_log_line_cut_short_by_a_kill_is_dropped(tmp_path):
    log = RunLog(tmp_path / "log.jsonl")
    log.append({"step": 1})
    with log.path.open("a") as stream:
        stream.write('{"step": 2, "lo')
    assert log.read() == [{"step": 1}]
    log.rewind(5)
    assert log.path.read_text() == '{"step": 1}\n'


def test_learning_rate_rises_holds_and_falls():
    config = LoopConfig(
        steps=100,
        learning_rate=1.0,
        warmup_steps=9,
        decay_steps=19,
        log_every=1,
        checkpoint_every=1,
        preview_every=1,
    )
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:81] == [1.0] * 72
    assert rates[99] == pytest.approx(0.05)
    assert rates[80:] == sorted(rates[80:], reverse=True)
