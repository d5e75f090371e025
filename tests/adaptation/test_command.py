"""The command as a whole: what it leaves beside the adapter."""

from __future__ import annotations

import pytest
from tiny_adaptations import document

from dit_accel.adaptation import command
from dit_accel.adaptation.config import AdaptationConfig
from dit_accel.adaptation.prepare import prepare
from dit_accel.errors import DitAccelError
from dit_accel.phase_report import silent


def test_a_tracker_gets_what_the_log_gets(tiny_dit, tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs the extra train"
    )
    config = AdaptationConfig(**document(tiny_dit, tmp_path / "run", trackers=["tensorboard"]))
    assert command.run(prepare(config), silent) is not None
    (events,) = (tmp_path / "run" / "dit_accel").glob("events.out.tfevents.*")
    found = accumulator.EventAccumulator(str(events)).Reload()
    assert [event.step for event in found.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in found.Scalars("relative_error")] == [6]


def test_a_tracker_that_is_not_there_is_named(tiny_dit, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "is_wandb_available", lambda: False)
    config = AdaptationConfig(**document(tiny_dit, tmp_path, trackers=["wandb"]))
    with pytest.raises(DitAccelError, match=r"trackers: got \"wandb\".*pip install wandb"):
        command.make_accelerator(config)


def test_what_is_under_way_is_told(tiny_dit, tmp_path):
    told: list[tuple[str, int, int]] = []
    config = AdaptationConfig(**document(tiny_dit, tmp_path / "run"))
    command.run(prepare(config), lambda *what: told.append(what))
    assert told[:2] == [("trajectories", 1, 2), ("trajectories", 2, 2)]
    assert [(done, total) for _, done, total in told[2:]] == [(step, 6) for step in range(1, 7)]
    assert all(phase.startswith("training, loss ") for phase, _, _ in told[2:])
