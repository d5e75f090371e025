"""One adaptation, put together: pipeline, samples, student, loss, loop; an adapter at the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from dit_accel.adaptation.drawing import Draws
from dit_accel.adaptation.loop import CHECKPOINT_FILE, AdaptationLoop
from dit_accel.adaptation.loss import AdaptationLoss
from dit_accel.adaptation.noise_levels import NoiseLevels
from dit_accel.adaptation.prepare import PreparedAdaptation
from dit_accel.adaptation.preview import Preview
from dit_accel.adaptation.scoring import relative_error
from dit_accel.adaptation.sources import open_source
from dit_accel.adaptation.starting_point import calibrate_student, is_calibrated
from dit_accel.adaptation.student import Student
from dit_accel.adapters import save_adapter
from dit_accel.adapters.adapter import Adapter
from dit_accel.adapters.record import AdapterRecord
from dit_accel.calibration_record import model_hash, sampled_weights
from dit_accel.install import at_step
from dit_accel.measure.provenance import versions
from dit_accel.sampling.loading import DTYPES, load_pipeline
from dit_accel.sampling.solvers import make_scheduler
from dit_accel.training.checkpoint import read_json, write_json

Advance = Callable[[str], None]
START_FILE = "start.json"


class Session:
    """An adaptation from here on.

    Args:
        prepared: what `prepare` has checked.
        accelerator: that it runs on.
        advance: told of whatever is finished.
    """

    def __init__(
        self,
        prepared: PreparedAdaptation,
        accelerator: Accelerator,
        advance: Advance = lambda finished: None,
    ) -> None:
        self.prepared, self.config = prepared, prepared.config
        config = self.config
        self.pipe = _load(prepared, accelerator.device)
        levels = NoiseLevels.of(self.pipe.scheduler, config.run.num_inference_steps)
        with accelerator.main_process_first():  # the others then find what it has cached
            opened = open_source(prepared, self.pipe, levels, advance)
        _drop_text_encoder(self.pipe)
        teacher = self.pipe.transformer
        self.student = Student(
            teacher, prepared.plan, config.train, config.lora, config.seed, config.freeze
        )
        if config.gradient_checkpointing:
            self.student.transformer.enable_gradient_checkpointing()
        self.draws = Draws(
            opened.source,
            levels,
            prepared.steps,
            config.batch_size,
            config.condition_dropout,
            config.held_out,
            config.seed,
            (accelerator.process_index, accelerator.num_processes),
            opened.fresh,
            getattr(config.data, "renoise", 0.0),
        )
        table = opened.table
        self.loss = AdaptationLoss(
            config.objective, teacher, self.student, table, levels, accelerator.device
        )
        self.starting_score = self._begin(accelerator)
        self.loop = AdaptationLoop(self.student, config, accelerator, advance)
        rows = self.draws.scoring(0).conditions[: config.previews]
        seed = prepared.sampling.config.seed + (1 << 31)
        previews = config.folder / "previews"
        self.preview = Preview(self.pipe, self.student, table, rows, config.run, seed, previews)

    def train(self) -> Path | None:
        """Train to the end and write the adapter; its file, `None` in all processes but one.

        Raises:
            DivergedError: a loss is no number.
        """
        self.loop.run(self.backward, self.look)
        if not self.loop.accelerator.is_main_process:
            return None
        with self.loop.averaged():
            score = {"relative_error": self.error(), **self.starting_score}
            return save_adapter(self.adapter(score), self.config.folder / "adapter")

    def backward(self, number: int, factor: float) -> Tensor:
        """Forward and backward pass of batch `number`."""
        batch, step = self.draws.training(number)
        # With the backward pass inside: gradient checkpointing repeats the forward in it.
        with at_step(self.student.transformer, step, self.draws.levels.num_steps):
            loss = self.loss(self.loop.model, batch)
            self.loop.accelerator.backward(loss * factor)
        return loss

    def look(self, step: int) -> dict[str, float]:
        """Draw a grid, and score, with the running average."""
        with self.loop.averaged():
            self.preview.draw(step)
            return {"relative_error": self.error()}

    def error(self) -> float:
        """Of the student's outputs on what was held out, relative to the teacher's."""
        return relative_error(self.loss, self.draws, self.prepared.steps)

    def adapter(self, score: dict[str, Any]) -> Adapter:
        """What trains, as it is now, in the file's precision."""
        dtype = DTYPES[self.config.adapter_dtype]
        tensors = {
            name: tensor.detach().to("cpu", dtype) if tensor.is_floating_point() else tensor.cpu()
            for name, tensor in self.student.tensors().items()
        }
        return Adapter(self.record(score), tensors)

    def record(self, score: dict[str, Any]) -> AdapterRecord:
        """What the adapter says of itself."""
        teacher = self.loss.teacher
        recipe = self.config.model_dump(mode="json", exclude={"output", "plan", "model"})
        return AdapterRecord(
            plan=self.prepared.plan.to_dict(),
            base=self.prepared.sampling.identity["model"]["name"],
            model=model_hash(teacher),
            weights=sampled_weights(teacher),
            trains=self.config.train,
            steps=self.loop.step,
            timesteps=self.draws.levels.timesteps,
            recipe=json.loads(json.dumps(recipe)),
            versions={name: each for name, each in versions().items() if each is not None},
            score=score,
        )

    def _begin(self, accelerator: Accelerator) -> dict[str, float]:
        """Calibrate what is to be; the errors before the first step, kept for a resumed run."""
        path = self.config.folder / START_FILE
        if (self.config.folder / CHECKPOINT_FILE).exists():
            return dict(read_json(path))
        score = {"relative_error_untrained": self.error()}
        if self.config.calibrate and is_calibrated(self.prepared.plan):
            calibrate_student(self.draws, self.loss)
            score["relative_error_calibrated"] = self.error()
        if accelerator.is_main_process:
            write_json(score, path)
        return score


def _load(prepared: PreparedAdaptation, device: torch.device) -> Any:
    """The teacher's pipeline; its transformer in float32, which is what trains best."""
    config = prepared.config
    pipe = load_pipeline(config.model, config.dtype, device)
    pipe.scheduler = make_scheduler(config.run.scheduler, pipe.scheduler.config)
    pipe.transformer.float().eval().requires_grad_(False)
    return pipe


def _drop_text_encoder(pipe: Any) -> None:
    """Texts are encoded by now, and an encoder may be ten times as large as the transformer."""
    if getattr(pipe, "text_encoder", None) is not None:
        pipe.register_modules(text_encoder=None)
