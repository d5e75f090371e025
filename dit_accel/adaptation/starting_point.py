"""Where learned parts start from: their closed-form fit to the teacher, before any training.

`dit_accel.calibration.density` regresses what the dense blocks do on what each segment sees. It is
given the states that the training will see, at every step of the run and without their condition
now and then, since one set of parts serves all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dit_accel.adaptation.drawing import Draws
from dit_accel.adaptation.loss import AdaptationLoss
from dit_accel.calibration.density import Call, calibrate_density
from dit_accel.methods.sparse_density import SparseDensity
from dit_accel.plan import Plan

# Times the steps and the tokens of a row: some hundred tokens a channel for models of any width.
_SAMPLES = 32


def is_calibrated(plan: Plan) -> bool:
    """Whether a plan has parts that are linear in what they learn."""
    return isinstance(plan.density, SparseDensity) and plan.density.form == "delta"


def calibrate_student(draws: Draws, loss: AdaptationLoss) -> None:
    """Fit the student's learned parts, in place, to the dense blocks around them.

    Args:
        draws: of the samples, of which none that is held out takes part.
        loss: that knows the student and its arguments.
    """
    samples = torch.arange(min(_SAMPLES, draws.num_trained))
    runs = [_Run(draws, loss, each) for each in torch.split(samples, draws.batch_size)]
    calibrate_density(loss.student.transformer, runs)


class _Run:
    """The calls of one run of some samples `[B]`; each is made as it is asked for, as all of them
    with their texts may be more than a device holds.
    """

    def __init__(self, draws: Draws, loss: AdaptationLoss, samples: Tensor) -> None:
        self._draws, self._loss, self._samples = draws, loss, samples

    def __len__(self) -> int:
        return self._draws.levels.num_steps

    def __iter__(self) -> Iterator[Call]:
        for step in range(len(self)):
            batch = self._draws.calibration(step, self._samples)
            states = batch.states.to(self._loss.device)
            yield {"hidden_states": states, **self._loss.arguments(batch)}
