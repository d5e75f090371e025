"""One adaptation, put together: pipeline, samples, student, loss, loop; an adapter at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from dit_accel.adaptation.denoising import Denoising
from dit_accel.adaptation.drawing import Draws
from dit_accel.adaptation.loop import CHECKPOINT_FILE, AdaptationLoop
from dit_accel.adaptation.loss import AdaptationLoss
from dit_accel.adaptation.noise_levels import NoiseLevels
from dit_accel.adaptation.prepare import PreparedAdaptation
from dit_accel.adaptation.preview import Preview
from dit_accel.adaptation.scoring import relative_error
from dit_accel.adaptation.sources import OpenedSource, open_source
from dit_accel.adaptation.starting_point import calibrate_student, is_calibrated
from dit_accel.adaptation.student import Student
from dit_accel.adapters import save_adapter
from dit_accel.adapters.adapter import Adapter
from dit_accel.adapters.record import AdapterRecord
from dit_accel.calibration_record import model_hash, sampled_weights
from dit_accel.install import at_step
from dit_accel.measure.provenance import versions
from dit_accel.phase_report import Report, silent
from dit_accel.sampling.loading import DTYPES, load_pipeline
from dit_accel.sampling.solvers import make_scheduler
from dit_accel.training.checkpoint import read_json, write_json

START_FILE = "start.json"


class Session:
    """An adaptation from here on.

    Args:
        prepared: what `prepare` has checked.
        accelerator: that it runs on.
        report: told how far it is.
    """

    def __init__(
        self,
        prepared: PreparedAdaptation,
        accelerator: Accelerator,
        report: Report = silent,
    ) -> None:
        self.prepared, self.config = prepared, prepared.config
        self.accelerator = accelerator
        config = self.config
        self.pipe = _load(prepared, accelerator.device)
        levels = NoiseLevels.of(self.pipe.scheduler, config.run.num_inference_steps)
        opened = open_source(prepared, self.pipe, levels, accelerator, report)
        _drop_text_encoder(self.pipe)
        teacher = self.pipe.transformer
        self.student = _student(teacher, prepared)
        self.draws = _draws(prepared, opened, levels, accelerator)
        self.loss = AdaptationLoss(
            config.objective, teacher, self.student, opened.table, levels, accelerator.device
        )
        self.starting_score = self._begin()
        self.loop = AdaptationLoop(self.student, config, accelerator, report)
        self.preview = self._preview()

    def train(self) -> Path | None:
        """Train to the end and write the adapter; its file, `None` in all processes but one.

        Raises:
            DivergedError: a loss is no number.
        """
        self.loop.run(self.backward, self.look)
        if not self.accelerator.is_main_process:
            return None
        with self.loop.averaged():
            score = {"relative_error": self.error(), **self.starting_score}
            return save_adapter(self.adapter(score), self.config.folder / "adapter")

    def backward(self, number: int, factor: float) -> Tensor:
        """Forward and backward pass of batch `number`."""
        draws, transformer = self.draws, self.student.transformer
        batch, step = draws.training(number)
        other_grid = draws.grids.running(transformer, step, draws.grid(number, step))
        # With the backward pass inside: gradient checkpointing repeats the forward in it.
        with at_step(transformer, step, draws.levels.num_steps), other_grid:
            with self.accelerator.autocast():  # the teacher too, where it is asked
                loss = self.loss(self.loop.model, batch)
            self.accelerator.backward(loss * factor)
        return loss

    def look(self, step: int) -> dict[str, float]:
        """Draw a grid, and score, with the running average."""
        with self.loop.averaged():
            self.preview.draw(step)
            return {"relative_error": self.error()}

    def error(self) -> float:
        """Of the student's outputs on what was held out, relative to the teacher's."""
        with self.accelerator.autocast():
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

    def _begin(self) -> dict[str, float]:
        """Calibrate what is to be; the errors before the first step, kept for a resumed run."""
        path = self.config.folder / START_FILE
        if (self.config.folder / CHECKPOINT_FILE).exists():
            return dict(read_json(path))
        score = {"relative_error_untrained": self.error()}
        if self.config.calibrate and is_calibrated(self.prepared.plan):
            with self.accelerator.autocast():
                calibrate_student(self.draws, self.loss)
            score["relative_error_calibrated"] = self.error()
        if self.accelerator.is_main_process:
            write_json(score, path)
        return score

    def _preview(self) -> Preview:
        """Of the first samples that are held out, from noise that nothing else has."""
        config = self.config
        return Preview(
            self.pipe,
            self.prepared.plan,
            lambda: self.adapter({}),
            Denoising(self.loss.table, config.run, self.accelerator.autocast),
            rows=self.draws.scoring(0).conditions[: config.previews],
            seed=self.prepared.sampling.config.seed + (1 << 31),
            folder=config.folder / "previews",
        )


def _load(prepared: PreparedAdaptation, device: torch.device) -> Any:
    """The teacher's pipeline; its transformer in float32, which is what trains best."""
    config = prepared.config
    pipe = load_pipeline(config.model, config.dtype, device, transformer_dtype="float32")
    pipe.scheduler = make_scheduler(config.run.scheduler, pipe.scheduler.config)
    pipe.transformer.eval().requires_grad_(False)
    return pipe


def _student(teacher: Any, prepared: PreparedAdaptation) -> Student:
    config = prepared.config
    student = Student(teacher, prepared.plan, config.train, config.lora, config.seed, config.freeze)
    if config.gradient_checkpointing:
        student.transformer.enable_gradient_checkpointing()
    return student


def _draws(
    prepared: PreparedAdaptation,
    opened: OpenedSource,
    levels: NoiseLevels,
    accelerator: Accelerator,
) -> Draws:
    config = prepared.config
    return Draws(
        source=opened.source,
        levels=levels,
        steps=prepared.steps,
        grids=prepared.grids,
        batch_size=config.batch_size,
        dropout=config.condition_dropout,
        held_out=config.held_out,
        seed=config.seed,
        share=(accelerator.process_index, accelerator.num_processes),
        fresh=opened.fresh,
        renoise=getattr(config.data, "renoise", 0.0),
    )


def _drop_text_encoder(pipe: Any) -> None:
    """Texts are encoded by now, and an encoder may be ten times as large as the transformer."""
    if getattr(pipe, "text_encoder", None) is not None:
        pipe.register_modules(text_encoder=None)
