"""What the student is told about one batch: how far it is from its teacher, or from the truth."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dit_accel.adaptation.conditions import ConditionTable
from dit_accel.adaptation.config import ObjectiveConfig
from dit_accel.adaptation.noise_levels import NoiseLevels
from dit_accel.adaptation.objective import feature_error, min_snr_weights, output_error
from dit_accel.adaptation.samples import Batch
from dit_accel.adaptation.student import Student, block_outputs
from dit_accel.backbones import find_backbone


@dataclass(frozen=True)
class AdaptationLoss:
    """The losses of one adaptation.

    Attributes:
        objective: their weights.
        teacher: the dense transformer.
        student: as it is, not wrapped for several processes.
        table: of the conditions.
        levels: of the run.
        device: where they are.
    """

    objective: ObjectiveConfig
    teacher: Any
    student: Student
    table: ConditionTable
    levels: NoiseLevels
    device: torch.device

    @property
    def channels(self) -> int:
        """Of a prediction; the model may put a variance behind it."""
        return int(self.teacher.config.in_channels)

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss of a batch; `model` is the student, wrapped or not."""
        objective, arguments = self.objective, self.arguments(batch)
        wanted, features = self.ask_teacher(batch, arguments)
        with self._listening(self.student.transformer) as seen:
            found = model(batch.states.to(self.device), **arguments)
        weights = self._weights(batch)
        loss = torch.zeros((), device=self.device)
        if objective.distillation:
            assert wanted is not None
            error = output_error(found, wanted, self.channels)
            loss = loss + objective.distillation * (weights * error).mean()
        if objective.denoising:
            assert batch.target is not None
            error = output_error(found, batch.target.to(self.device), self.channels)
            loss = loss + objective.denoising * (weights * error).mean()
        if objective.features:
            loss = loss + objective.features * feature_error(seen, features).to(self.device)
        return loss

    def arguments(self, batch: Batch) -> dict[str, Any]:
        """Arguments of a transformer, but for the latents."""
        conditions = self.table.arguments(batch.conditions, self.device)
        return {"timestep": batch.timesteps.to(self.device), **conditions}

    @torch.no_grad()
    def ask_teacher(
        self, batch: Batch, arguments: dict[str, Any]
    ) -> tuple[Tensor | None, dict[int, Tensor]]:
        """The teacher's outputs `[B, Co, h, w]`, and its features where they are matched."""
        if batch.outputs is not None and not self.objective.features:
            return batch.outputs.to(self.device), {}
        if not self.objective.distillation and not self.objective.features:
            return None, {}
        with self._listening(self.teacher) as seen:
            states = batch.states.to(self.device)
            outputs: Tensor = self.teacher(states, **arguments, return_dict=False)[0]
        return outputs, dict(seen)

    def _listening(self, transformer: Any) -> Any:
        if not self.objective.features:
            return nullcontext({})
        return block_outputs(transformer, find_backbone(transformer).blocks(transformer))

    def _weights(self, batch: Batch) -> Tensor:
        if self.objective.weighting == "uniform":
            return torch.ones((), device=self.device)
        indices = self.levels.indices(batch.timesteps)
        levels = self.levels
        return min_snr_weights(
            levels.alphas_cumprod, indices, levels.prediction_type, self.objective.gamma
        ).to(self.device)
