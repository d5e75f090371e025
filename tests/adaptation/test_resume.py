"""A training that was killed and resumed is, bit for bit, the one that never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_adaptations import POOLED, SPARSE, document
from torch import Tensor
from typer.testing import CliRunner

from dit_accel.adaptation.loop import DivergedError
from dit_accel.adaptation.session import Session
from dit_accel.cli import app
from dit_accel.training.checkpoint import RunLog, load_if_present


class KilledError(Exception):
    """Stands for the signal that ends a process."""


def killed_after(session: Session, batches: int) -> None:
    """Train until so many batches are done."""
    calls = iter(range(batches))
    backward = session.backward

    def lossy(number: int, factor: float) -> Tensor:
        if next(calls, None) is None:
            raise KilledError
        return backward(number, factor)

    session.backward = lossy  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        session.train()


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right


def state_of(session: Session) -> dict[str, Any]:
    state = load_if_present(session.loop.checkpoint)
    assert state is not None
    return {key: value for key, value in state.items() if key != "seconds"}


@pytest.mark.parametrize(
    ("train", "density", "batches", "precision"),
    [
        ("new+norm", POOLED, 1, "no"),
        ("new+norm", POOLED, 9, "no"),
        ("lora", POOLED, 5, "no"),
        ("new", SPARSE, 1, "no"),
        ("new", SPARSE, 5, "no"),
        ("all", SPARSE, 5, "no"),
        ("all", SPARSE, 5, "bf16"),
    ],
)
def test_a_killed_and_resumed_training_is_bit_exact(
    open_session, train, density, batches, precision
):
    changes = {
        "train": train,
        "mixed_precision": precision,
        "plan": {"density": density},
        "lora": {"rank": 2},
        "loop": {"accumulation": 2},
        "data": {"kind": "trajectories", "samples": 12, "batch_size": 6, "renoise": 0.5},
    }
    whole, killed = open_session("whole", **changes), open_session("killed", **changes)
    adapter = whole.train()
    killed_after(killed, batches)
    torch.manual_seed(12345)  # a new process has another global random state
    resumed = open_session("killed", **changes)
    assert resumed.loop.step == batches // 2 // 2 * 2  # the last checkpoint, not the last step
    found = resumed.train()
    assert equal(state_of(resumed), state_of(whole))
    assert found.read_bytes() == adapter.read_bytes()


def test_every_step_is_logged_once_with_the_same_numbers(open_session):
    whole, killed = open_session("whole"), open_session("killed")
    whole.train()
    killed_after(killed, 5)
    open_session("killed").train()

    def numbers(session: Session) -> list[dict[str, Any]]:
        records = session.loop.log.read()
        return [{k: v for k, v in record.items() if k != "seconds"} for record in records]

    assert numbers(killed) == numbers(whole)


def test_a_loss_that_is_no_number_ends_it_before_the_checkpoint(open_session):
    session = open_session()
    backward = session.backward

    def poisoned(number: int, factor: float) -> Tensor:
        loss = backward(number, factor)
        return loss * float("nan") if number == 3 else loss

    session.backward = poisoned
    with pytest.raises(DivergedError, match=r"loss: got nan in step 4.*checkpoint.pt is the last"):
        session.train()
    kept = state_of(session)
    assert kept["step"] == 2
    assert all(tensor.isfinite().all() for tensor in kept["trained"].values())
    assert open_session().loop.step == 2


def test_an_infinite_gradient_ends_it_too(open_session):
    session = open_session()
    backward = session.backward

    def poisoned(number: int, factor: float) -> Tensor:
        loss = backward(number, factor)
        next(iter(session.student.trained.values())).grad.fill_(float("inf"))
        return loss

    session.backward = poisoned
    with pytest.raises(DivergedError, match=r"grad_norm: got .* there is no checkpoint yet"):
        session.train()


def test_a_real_process_killed_by_a_signal_resumes_to_the_same_adapter(
    open_session, tiny_dit, tmp_path
):
    """As people do it: the command, SIGKILL, the command again with --resume."""
    changes = {"loop": {"steps": 150, "checkpoint_every": 5, "preview_every": 150}}
    open_session("whole", **changes).train()
    config = tmp_path / "killed.yaml"
    config.write_text(yaml.safe_dump(document(tiny_dit, tmp_path / "killed", **changes)))
    command = [sys.executable, "-m", "dit_accel.cli", "train", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    log, until = RunLog(tmp_path / "killed" / "log.jsonl"), time.monotonic() + 120
    while len(log.read()) < 20 and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    refused = CliRunner().invoke(app, command[3:])
    assert refused.exit_code == 2 and "--resume" in refused.stderr
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    whole, killed = (
        (tmp_path / name / "adapter/adapter.safetensors").read_bytes()
        for name in ("whole", "killed")
    )
    assert whole == killed


def test_another_training_is_not_gone_on_with(open_session, tiny_dit, tmp_path):
    from dit_accel.adaptation.command import keep_config
    from dit_accel.adaptation.config import AdaptationConfig
    from dit_accel.errors import DitAccelError, PlanError

    first = AdaptationConfig(**document(tiny_dit, tmp_path / "run"))
    keep_config(first, {}, resume=False)
    keep_config(first.model_copy(update={"previews": 2}), {}, resume=True)
    with pytest.raises(PlanError, match=r"train: all here, new\+norm where it was begun"):
        keep_config(first.model_copy(update={"train": "all"}), {}, resume=True)
    longer = first.loop.model_copy(update={"steps": 9, "learning_rate": 1e-3, "warmup_steps": 3})
    keep_config(first.model_copy(update={"loop": longer}), {}, resume=True)
    for key, value in {
        "betas": (0.9, 0.95),
        "weight_decay": 0.1,
        "muon_ratio": 3.0,
        "accumulation": 2,
    }.items():
        changed = first.loop.model_copy(update={key: value})
        with pytest.raises(PlanError, match=rf"loop.{key}: .* here, .* where it was begun"):
            keep_config(first.model_copy(update={"loop": changed}), {}, resume=True)
    with pytest.raises(DitAccelError, match=r"expected a folder without a training.*--resume"):
        keep_config(first, {}, resume=False)
    assert json.loads((tmp_path / "run/config.json").read_text())["train"] == "new+norm"


def test_nothing_of_a_kill_in_the_trajectories_is_seen(open_session, tmp_path: Path):
    """Cut short in the second batch of them, they are filled on to the same bytes."""
    open_session("whole")
    open_session("killed")
    folder, lost = tmp_path / "killed/trajectories", "outputs-00000006-6.npy"
    (folder / lost).unlink()
    open_session("killed")
    assert (folder / lost).read_bytes() == (tmp_path / "whole/trajectories" / lost).read_bytes()
