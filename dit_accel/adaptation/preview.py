"""Pictures of the teacher above those of the student, from the same noise."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import dit_accel
from dit_accel.adaptation.conditions import ConditionTable
from dit_accel.adaptation.config import RunConfig
from dit_accel.adaptation.student import Student
from dit_accel.reporting.image_grid import image_grid
from dit_accel.sampling.batch import decode


class Preview:
    """Draws grids.

    Args:
        pipe: of the teacher.
        student: its transformer under the plan.
        table: of the conditions.
        rows: of the pictures' conditions, `[P]`.
        run: how they are sampled.
        seed: of the first picture.
        folder: for the grids.
    """

    def __init__(
        self,
        pipe: Any,
        student: Student,
        table: ConditionTable,
        rows: Tensor,
        run: RunConfig,
        seed: int,
        folder: Path,
    ) -> None:
        self._student, self._table, self._rows = student, table, rows
        self._run, self._seed, self._folder = run, seed, folder
        self._teachers_pipe = pipe
        self._pipe = copy.copy(pipe)
        self._pipe.transformer = student.transformer
        self._teacher: Tensor | None = None

    def draw(self, step: int) -> None:
        """Write the grid of a step."""
        if not len(self._rows):
            return
        if self._teacher is None:
            self._teacher = self._pictures(self._teachers_pipe)
        with dit_accel.run(self._student.transformer, self._run.num_inference_steps):
            student = self._pictures(self._pipe)
        self._folder.mkdir(parents=True, exist_ok=True)
        grid = image_grid([("dense", self._teacher), (f"step {step}", student)])
        grid.save(self._folder / f"{step:06d}.png")

    @torch.no_grad()
    def _pictures(self, pipe: Any) -> Tensor:
        """`[P, 3, H, W]` in [0, 1]."""
        device = next(pipe.transformer.parameters()).device
        run = self._run
        seeds = range(self._seed, self._seed + len(self._rows))
        latents = pipe(
            **self._table.call_arguments(self._rows, device, run.guidance_scale > 1),
            guidance_scale=run.guidance_scale,
            num_inference_steps=run.num_inference_steps,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="latent",
        ).images
        return decode(pipe, latents)
