"""What ``dit-accel train`` does: everything is checked before a model is loaded."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import (
    AutocastKwargs,
    DistributedDataParallelKwargs,
    DistributedType,
    DynamoBackend,
    GradientAccumulationPlugin,
    InitProcessGroupKwargs,
    is_tensorboard_available,
    is_wandb_available,
)

from dit_accel.adaptation.config import AdaptationConfig
from dit_accel.adaptation.prepare import PreparedAdaptation
from dit_accel.adaptation.session import Session
from dit_accel.errors import DitAccelError, PlanError, UnsupportedError, mismatch
from dit_accel.phase_report import Report
from dit_accel.training.checkpoint import read_json, write_json

CONFIG_FILE = "config.json"
# They decide how long and how often, not what, and all of them take effect on a resumed training.
# An optimiser's other settings come back with its state.
_FREE = (
    "output",
    "trackers",
    "previews",
    "loop.steps",
    "loop.learning_rate",
    "loop.warmup_steps",
    "loop.decay_steps",
    "loop.max_grad_norm",
    "loop.log_every",
    "loop.checkpoint_every",
    "loop.preview_every",
)
_DATA_PARALLEL = (
    DistributedType.NO,
    DistributedType.MULTI_CPU,
    DistributedType.MULTI_GPU,
    DistributedType.MULTI_NPU,
    DistributedType.MULTI_XPU,
)


def run(prepared: PreparedAdaptation, report: Report, resume: bool = False) -> Path | None:
    """Train, or go on training, and write the adapter.

    Args:
        prepared: what `prepare` has checked.
        report: told how far it is.
        resume: whether to go on with a training that is in the folder already.

    Returns:
        The adapter's file; `None` in all processes but one.

    Raises:
        DitAccelError: the folder holds another training, or a loss is no number.
    """
    config = prepared.config
    accelerator = make_accelerator(config)
    if accelerator.is_main_process:
        keep_config(config, prepared.plan.to_dict(), resume)
    accelerator.wait_for_everyone()
    accelerator.init_trackers("dit_accel")
    try:
        return Session(prepared, accelerator, report).train()
    finally:
        accelerator.end_training()


def make_accelerator(config: AdaptationConfig) -> Accelerator:
    """As accelerate's own configuration and environment say.

    Raises:
        DitAccelError: a tracker is not installed, or what `check_environment` refuses.
    """
    installed = {"tensorboard": is_tensorboard_available(), "wandb": is_wandb_available()}
    for name in config.trackers:
        if not installed[name]:
            remedy = f"pip install {name}, or trackers: []"
            raise DitAccelError("trackers: " + mismatch(name, "a package that is there", remedy))
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        log_with=list(config.trackers) or None,
        project_dir=str(config.folder),
        # Batches are accumulated by the loop, whatever the environment says.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        # Parts are fitted in place between two forwards, of which no rounded copy may be left.
        # A step of the run at which the plan does less leaves parts without a gradient.
        # Processes wait for each other once all samples are made, and one may have more to do.
        kwargs_handlers=[
            AutocastKwargs(cache_enabled=False),
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=timedelta(days=1)),
        ],
    )
    check_environment(accelerator, config)
    return accelerator


def check_environment(accelerator: Accelerator, config: AdaptationConfig) -> None:
    """Refuse what accelerate's own configuration, of a file or the command line, may bring in.

    Raises:
        UnsupportedError: it shards or compiles the model, or scales gradients of two optimisers.
        DitAccelError: processes would get unequal shares.
    """
    if accelerator.distributed_type not in _DATA_PARALLEL:
        raise UnsupportedError(
            f"accelerate: got {accelerator.distributed_type}, expected one process or data"
            " parallelism on CPUs or GPUs, because the model has to be whole where it is scored and"
            " saved, and shares its weights with the teacher; choose multi-GPU in accelerate"
            " config, and gradient_checkpointing: true if memory is short"
        )
    if accelerator.state.dynamo_plugin.backend != DynamoBackend.NO:
        raise UnsupportedError(
            f"accelerate: got dynamo_backend {accelerator.state.dynamo_plugin.backend.value},"
            " expected no, because every batch is another step of the plan, which would be compiled"
            " anew; set dynamo_backend to no"
        )
    if accelerator.mixed_precision == "fp16" and config.loop.muon_ratio is not None:
        raise UnsupportedError(
            "mixed_precision: got fp16 with loop.muon_ratio, whose two optimisers can't share a"
            " gradient scaler, expected bf16 or no; use bf16, or leave muon_ratio out"
        )
    if config.batch_size % accelerator.num_processes:
        expected = f"a multiple of the {accelerator.num_processes} processes, which share it"
        raise DitAccelError("batch_size: " + mismatch(config.batch_size, expected, "change it"))


def keep_config(config: AdaptationConfig, plan: dict[str, Any], resume: bool) -> None:
    """Write down what is trained, or refuse to go on with something else.

    Raises:
        DitAccelError: there is a training, and it is not to be gone on with.
        PlanError: there is another one; names every key that differs.
    """
    path = config.folder / CONFIG_FILE
    if path.exists() and not resume:
        expected = "a folder without a training in it"
        remedy = "pass --resume to go on with that one, or choose another output"
        raise DitAccelError("output: " + mismatch(config.output, expected, remedy))
    document = json.loads(json.dumps({**config.model_dump(mode="json"), "plan": plan}))
    if path.exists():
        here, former = _by_key(document), _by_key(read_json(path))
        problems = [
            f"{key}: {value} here, {former.get(key)} where it was begun; take the former, or choose"
            " another output"
            for key, value in here.items()
            if key not in _FREE and value != former.get(key)
        ]
        if problems:
            raise PlanError(*problems, source=str(path))
    write_json(document, path)


def _by_key(document: dict[str, Any]) -> dict[str, Any]:
    """Values by key, those of the loop one by one."""
    loop = {f"loop.{key}": value for key, value in document["loop"].items()}
    return {**{key: value for key, value in document.items() if key != "loop"}, **loop}
