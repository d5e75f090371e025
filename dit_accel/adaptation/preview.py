"""Pictures of the teacher above those of the student, from the same noise."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from torch import Tensor

import dit_accel
from dit_accel.adaptation.denoising import Denoising
from dit_accel.adaptation.student import Student
from dit_accel.reporting.image_grid import image_grid
from dit_accel.sampling.batch import decode


class Preview:
    """Draws grids.

    Args:
        pipe: of the teacher.
        student: its transformer under the plan.
        denoising: how both run.
        rows: of the pictures' conditions, `[P]`.
        seed: of the first picture.
        folder: for the grids.
    """

    def __init__(
        self,
        pipe: Any,
        student: Student,
        denoising: Denoising,
        rows: Tensor,
        seed: int,
        folder: Path,
    ) -> None:
        self._student, self._denoising = student, denoising
        self._rows, self._seed, self._folder = rows, seed, folder
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
        with dit_accel.run(self._student.transformer, self._denoising.run.num_inference_steps):
            student = self._pictures(self._pipe)
        self._folder.mkdir(parents=True, exist_ok=True)
        grid = image_grid([("dense", self._teacher), (f"step {step}", student)])
        grid.save(self._folder / f"{step:06d}.png")

    def _pictures(self, pipe: Any) -> Tensor:
        """`[P, 3, H, W]` in [0, 1]."""
        seeds = range(self._seed, self._seed + len(self._rows))
        return decode(pipe, self._denoising.latents(pipe, self._rows, seeds))
