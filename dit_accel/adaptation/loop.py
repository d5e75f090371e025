"""The optimisation of an adaptation: a pure function of the step, so that a kill changes nothing.

What the reference models' loop (`dit_accel.training.loop`) has not: only a part of the model trains
and is kept, batches are accumulated, each forward is one step of the plan's run, and a loss that is
no number ends the training before it can reach a checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import Tensor

from dit_accel.adaptation.config import AdaptationConfig
from dit_accel.adaptation.student import Student
from dit_accel.errors import DitAccelError
from dit_accel.phase_report import Report, silent
from dit_accel.training.checkpoint import RunLog, load_if_present, save_atomically
from dit_accel.training.loop import learning_rate
from dit_accel.training.optimizers import build_optimizers, set_learning_rate

CHECKPOINT_FILE = "checkpoint.pt"
Backward = Callable[[int, float], Tensor]
"""Forward and backward pass of the batch of a number, its loss times a factor; returns the loss."""


class DivergedError(DitAccelError):
    """A loss that is no number; the last checkpoint is from before it."""


class AdaptationLoop:
    """Student, optimisers, running average, and where the run stands.

    Args:
        student: to train.
        config: of the adaptation.
        accelerator: that prepares it.
        report: told after every step.
    """

    def __init__(
        self,
        student: Student,
        config: AdaptationConfig,
        accelerator: Accelerator,
        report: Report = silent,
    ) -> None:
        self.config, self.loop = config, config.loop
        self.student, self.accelerator = student, accelerator
        self.report = report
        self.step, self.seconds = 0, 0.0
        self.folder: Path = config.folder
        self.log = RunLog(self.folder / "log.jsonl")
        self.model, *self.optimizers = accelerator.prepare(
            student, *build_optimizers(student, config.loop)
        )
        self._trained = student.trained
        self.ema = EMAModel(
            list(self._trained.values()),
            decay=config.ema.decay,
            use_ema_warmup=True,
            power=config.ema.power,
        )
        self.ema.to(accelerator.device)
        self._resume()

    @property
    def checkpoint(self) -> Path:
        """Where the resumable state lives."""
        return self.folder / CHECKPOINT_FILE

    def run(self, backward: Backward, preview: Callable[[int], dict[str, float]]) -> None:
        """Optimise up to the configured number of steps.

        Args:
            backward: of one batch.
            preview: called now and then with the step; what it returns is logged.

        Raises:
            DivergedError: a loss is no number.
        """
        while self.step < self.loop.steps:
            value, norm, rate = self._advance(backward)
            self.report(f"training, loss {value:.3g}", self.step, self.loop.steps)
            if self._due(self.loop.log_every):
                record = {"loss": value, "lr": rate, "grad_norm": norm}
                self._record({**record, "seconds": round(self.seconds, 2)})
            if not self.accelerator.is_main_process:
                continue  # it meets the others again at its next gradients
            if self._due(self.loop.checkpoint_every):
                self.save()  # before a preview, whose failure must not cost steps
            if self._due(self.loop.preview_every):
                self._record(preview(self.step))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The student with the running average in place of its weights."""
        parameters = list(self._trained.values())
        self.ema.store(parameters)
        self.ema.copy_to(parameters)
        try:
            yield
        finally:
            self.ema.restore(parameters)

    def save(self) -> None:
        """Write the resumable state atomically; of the model, what trains."""
        scaler = self.accelerator.scaler
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "trained": {name: each.detach() for name, each in self._trained.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "ema": self.ema.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        save_atomically(state, self.checkpoint)

    def _resume(self) -> None:
        state = load_if_present(self.checkpoint)
        if state is not None:
            self._restore(state)
        if self.accelerator.is_main_process:
            self.log.rewind(self.step)

    @torch.no_grad()
    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.seconds = state["step"], state["seconds"]
        for name, parameter in self._trained.items():
            parameter.copy_(state["trained"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.ema.load_state_dict(state["ema"])
        self.ema.to(self.accelerator.device)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _advance(self, backward: Backward) -> tuple[float, float, float]:
        """One optimiser step; its loss, norm of the gradient and learning rate."""
        started = time.perf_counter()
        rate = learning_rate(self.step, self.loop)
        set_learning_rate(self.optimizers, rate, self.loop)
        value = self._accumulate(backward)
        if not math.isfinite(value):
            raise self._diverged(value)
        parameters = list(self._trained.values())
        norm = self.accelerator.clip_grad_norm_(parameters, self.loop.max_grad_norm)
        # A gradient scaler meets infinite gradients by itself: it leaves the step out.
        if self.accelerator.scaler is None and not math.isfinite(float(norm)):
            raise self._diverged(float(norm), "grad_norm")
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.ema.step(parameters)
        self.step += 1
        self.seconds += time.perf_counter() - started
        return value, float(norm), rate

    def _accumulate(self, backward: Backward) -> float:
        """Gradients of all batches of a step; their mean loss over all processes."""
        count, total = self.loop.accumulation, torch.zeros((), device=self.accelerator.device)
        for index in range(count):
            last = index == count - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                total = total + backward(self.step * count + index, 1 / count).detach() / count
        return float(self.accelerator.reduce(total, "mean"))

    def _diverged(self, value: float, name: str = "loss") -> DivergedError:
        kept = "there is no checkpoint yet"
        if self.checkpoint.exists():
            kept = f"{self.checkpoint} is the last good one"
        return DivergedError(
            f"{name}: got {value} in step {self.step + 1}, expected a number; {kept}; lower"
            " loop.learning_rate or loop.max_grad_norm and go on with --resume"
        )

    def _record(self, values: dict[str, float]) -> None:
        if self.accelerator.is_main_process and values:
            self.log.append({"step": self.step, **values})
        self.accelerator.log(values, step=self.step)

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.loop.steps
