"""What a config may not say, and what the message says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate.utils import DistributedType, TorchDynamoPlugin
from tiny_adaptations import document

from dit_accel.adaptation import command
from dit_accel.adaptation.config import AdaptationConfig, load_config
from dit_accel.adaptation.prepare import prepare
from dit_accel.errors import DitAccelError, PlanError, UnsupportedError

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"trian": "new"}, "trian: unknown key .*did you mean 'train'"),
    ({"train": "norm"}, r"train: got \"norm\".*did you mean 'new\+norm'"),
    ({"loop": {"stepz": 3}}, "loop.stepz: unknown key"),
    ({"loop": {"learning_rate": "1e-4"}}, "loop.learning_rate: .*without quotes"),
    ({"data": {"kind": "trajectory"}}, "data.kind: .*one of trajectories, folder"),
    ({"data": {"sample": 3}}, "data.sample: unknown key"),
    ({"data": 3}, "data: got 3, expected a mapping"),
    ({"data": {"kind": "trajectories", "samples": 4}}, "data.samples: got 4 and held_out 4"),
    ({"objective": {"distillation": 0.0}}, "objective: expected a weight above 0"),
    ({"objective": {"denoising": 1.0}}, "objective.denoising: trajectories hold no clean"),
    ({"objective": {"weighting": "snr"}}, "objective.weighting: .*min_snr"),
    ({"run": {"guidance_scale": 1.0}}, "condition_dropout: trajectories without guidance"),
    ({"run": {"scheduler": "DDIMM"}}, "run.scheduler: .*did you mean 'DDIM'"),
    ({"trackers": ["tensorbord"]}, "trackers"),
    ({"data": {"renoise": 1.5}}, "data.renoise: got 1.5, expected .*1"),
    ({"train": "lora", "loop": {"muon_ratio": 3.0}}, "loop.muon_ratio: Muon is for whole"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_mistakes_are_named(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(PlanError, match=message):
        AdaptationConfig(**document(tmp_path, tmp_path, **changes))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": "no-such-model"}, "model: got"),
    ({"loop": {"steps": 0}}, "loop.steps: got 0, expected steps to train.*density sparse"),
    ({"plan": {"exact": True}}, "nothing to adapt to"),
    ({"plan": {"density": {"kind": "pooled", "pool": 1}}}, "does nothing on this model's 8x8"),
    ({"plan": {"density": {"kind": "pooled", "pool": 2, "layers": [2, 9]}}}, "density.layers"),
    ({"data": {"kind": "trajectories", "prompts": ["a cat"]}}, "data.prompts: .*labels"),
    ({"data": {"kind": "trajectories", "labels": [7, "moon"]}}, "data.labels"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_refused_before_a_model_is_loaded(tiny_dit, tmp_path, changes, message):
    config = AdaptationConfig(**{**document(tiny_dit, tmp_path), **changes})
    with pytest.raises(DitAccelError, match=message):
        prepare(config)


def test_a_model_that_reads_texts_needs_some(tiny_pixart, tmp_path):
    config = AdaptationConfig(**document(tiny_pixart, tmp_path))
    with pytest.raises(DitAccelError, match=r"data.prompts: missing; .* reads texts"):
        prepare(config)


@pytest.mark.parametrize("train", ["new", "new+norm"])
def test_steps_that_the_plan_leaves_alone_are_not_trained(tiny_dit, tmp_path, train):
    assert prepare(AdaptationConfig(**document(tiny_dit, tmp_path, train=train))).steps == (0, 1)


def test_set_changes_one_value(tiny_dit, tmp_path):
    import yaml

    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(document(tiny_dit, tmp_path)))
    config = load_config(path, ["loop.steps=9", "objective.features=0.5"])
    assert (config.loop.steps, config.objective.features) == (9, 0.5)


def test_processes_get_equal_shares_of_a_batch(tiny_dit, tmp_path, monkeypatch):
    config = AdaptationConfig(**document(tiny_dit, tmp_path))
    monkeypatch.setattr(command.Accelerator, "num_processes", 3)
    with pytest.raises(DitAccelError, match="batch_size: got 4, expected a multiple of the 3"):
        command.make_accelerator(config)


ENVIRONMENTS: list[tuple[dict[str, Any], str]] = [
    ({"distributed_type": DistributedType.FSDP}, "FSDP, expected one process or data parallelism"),
    ({"mixed_precision": "fp16"}, "got fp16 with loop.muon_ratio"),
    (
        {"state": SimpleNamespace(dynamo_plugin=TorchDynamoPlugin(backend="inductor"))},
        "got dynamo_backend INDUCTOR, expected no",
    ),
]


@pytest.mark.parametrize(("changes", "message"), ENVIRONMENTS)
def test_what_accelerate_brings_in_is_looked_at(tiny_dit, tmp_path, changes, message):
    """A file or `accelerate launch` may choose what a config could not."""
    config = AdaptationConfig(**document(tiny_dit, tmp_path, loop={"muon_ratio": 3.0}))
    plain = {
        "distributed_type": DistributedType.NO,
        "mixed_precision": "no",
        "num_processes": 1,
        "state": SimpleNamespace(dynamo_plugin=TorchDynamoPlugin(backend="no")),
    }
    command.check_environment(SimpleNamespace(**plain), config)
    with pytest.raises(UnsupportedError, match=message):
        command.check_environment(SimpleNamespace(**{**plain, **changes}), config)
