"""Pictures of the teacher above those of the student, from the same noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from dit_accel.adaptation.denoising import Denoising
from dit_accel.adapters.adapter import Adapter
from dit_accel.install import accelerate, restore
from dit_accel.plan import Plan
from dit_accel.reporting.image_grid import image_grid
from dit_accel.sampling.batch import decode


class Preview:
    """Draws grids.

    Args:
        pipe: of the teacher.
        plan: that is trained.
        adapter: what the student has learned by now; put on the teacher, as its users will.
        denoising: how both run.
        rows: of the pictures' conditions, `[P]`.
        seed: of the first picture.
        folder: for the grids.
    """

    def __init__(
        self,
        pipe: Any,
        plan: Plan,
        adapter: Callable[[], Adapter],
        denoising: Denoising,
        rows: Tensor,
        seed: int,
        folder: Path,
    ) -> None:
        self._pipe, self._plan, self._adapter = pipe, plan, adapter
        self._denoising = denoising
        self._rows, self._seed, self._folder = rows, seed, folder
        self._teacher: Tensor | None = None

    def draw(self, step: int) -> None:
        """Write the grid of a step."""
        if not len(self._rows):
            return
        if self._teacher is None:
            self._teacher = self._pictures()
        accelerate(self._pipe, self._plan, adapter=self._adapter())
        try:
            student = self._pictures()
        finally:
            restore(self._pipe)
        self._folder.mkdir(parents=True, exist_ok=True)
        grid = image_grid([("dense", self._teacher), (f"step {step}", student)])
        grid.save(self._folder / f"{step:06d}.png")

    def _pictures(self) -> Tensor:
        """`[P, 3, H, W]` in [0, 1]."""
        seeds = range(self._seed, self._seed + len(self._rows))
        return decode(self._pipe, self._denoising.latents(self._pipe, self._rows, seeds))
