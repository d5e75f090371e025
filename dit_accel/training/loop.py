"""The optimisation loop every stage shares: resumable, logged, and a pure function of the step.

A stage supplies ``loss(step)``.  Whatever is random in it (crops, noise, timesteps, dropped
labels) must come from ``step_generator`` or from an index computed from ``step``; then a run
killed and resumed repeats the very same arithmetic as one that was never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from .checkpoint import RunLog, load_if_present, save_atomically
from .config import LoopConfig
from .optimizers import build_optimizers, set_learning_rate


def learning_rate(step: int, config: LoopConfig) -> float:
    """Linear warm-up, constant, linear decay over the last ``decay_steps``: no state to restore."""
    rising = (step + 1) / (config.warmup_steps + 1)
    falling = (config.steps - step) / (config.decay_steps + 1)
    return config.learning_rate * min(1.0, rising, falling)


def step_generator(seed: int, stream: int, step: int) -> torch.Generator:
    """A generator that depends on nothing but its arguments (streams: one per stage)."""
    return torch.Generator().manual_seed((seed << 40) + (stream << 32) + step)


class Trainer:
    """Model, optimisers, optional weight average, and where the run stands."""

    def __init__(
        self,
        model: nn.Module,
        config: LoopConfig,
        folder: Path,
        accelerator: Accelerator,
        ema: EMAModel | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.accelerator = accelerator
        self.ema = ema
        self.step = 0
        self.seconds = 0.0
        self.log = RunLog(folder / "log.jsonl")
        self.model, *self.optimizers = accelerator.prepare(model, *build_optimizers(model, config))
        if ema:
            ema.to(accelerator.device)
        self._resume()

    @property
    def checkpoint(self) -> Path:
        """Where the resumable state lives."""
        return self.folder / "checkpoint.pt"

    def run(
        self, loss: Callable[[int], Tensor], preview: Callable[[int], dict[str, float]]
    ) -> None:
        """Optimise ``loss(step)`` up to the configured number of steps.

        ``preview(step)`` is called now and then, outside the timed part; what it returns is logged.
        """
        columns = (TextColumn(self.folder.name), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as progress:
            task = progress.add_task("steps", total=self.config.steps, completed=self.step)
            while self.step < self.config.steps:
                self._advance(loss)
                progress.update(task, completed=self.step)
                if self.accelerator.is_main_process:
                    self._report(preview)

    def save(self) -> None:
        """Write the resumable state atomically."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.accelerator.unwrap_model(self.model).state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "ema": self.ema.state_dict() if self.ema else None,
        }
        save_atomically(state, self.checkpoint)

    def _report(self, preview: Callable[[int], dict[str, float]]) -> None:
        if self._due(self.config.preview_every):
            self.log.append({"step": self.step, **preview(self.step)})
        if self._due(self.config.checkpoint_every):
            self.save()

    def _resume(self) -> None:
        state = load_if_present(self.checkpoint)
        if state is not None:
            self._restore(state)
        if self.accelerator.is_main_process:
            self.log.rewind(self.step)

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.seconds = state["step"], state["seconds"]
        self.accelerator.unwrap_model(self.model).load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        if self.ema:
            self.ema.load_state_dict(state["ema"])

    def _advance(self, loss: Callable[[int], Tensor]) -> None:
        started = time.perf_counter()
        rate = learning_rate(self.step, self.config)
        set_learning_rate(self.optimizers, rate, self.config)
        value = loss(self.step)
        self.accelerator.backward(value)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if self.ema:
            self.ema.step(self.model.parameters())
        self.step += 1
        self.seconds += time.perf_counter() - started
        if self._due(self.config.log_every):
            self._record(self.accelerator.reduce(value.detach(), "mean"), norm, rate)

    def _record(self, value: Tensor, norm: Tensor | None, rate: float) -> None:
        record = {"loss": value.item(), "lr": rate, "seconds": round(self.seconds, 2)}
        if self.accelerator.is_main_process:
            self.log.append({"step": self.step, **record, "grad_norm": float(norm or 0.0)})

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.config.steps
