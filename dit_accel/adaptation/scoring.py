"""How far the student is from its teacher on samples that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dit_accel.adaptation.drawing import Draws
from dit_accel.adaptation.loss import AdaptationLoss
from dit_accel.install import at_step

_MOST_STEPS = 5


@torch.no_grad()
def relative_error(loss: AdaptationLoss, draws: Draws, steps: Sequence[int]) -> float:
    """Norm of the difference of the outputs, relative to that of the teacher's outputs.

    Args:
        loss: that knows both.
        draws: of the held-out samples.
        steps: of the run; of many, some that are spread over them.
    """
    squares = torch.zeros(2, dtype=torch.float64)
    for step in spread(steps):
        batch = draws.scoring(step)
        arguments, states = loss.arguments(batch), batch.states.to(loss.device)
        if batch.outputs is None:
            wanted = loss.teacher(states, **arguments, return_dict=False)[0]
        else:
            wanted = batch.outputs.to(loss.device)
        with at_step(loss.student.transformer, step, draws.levels.num_steps):
            found = loss.student(states, **arguments)
        pairs = (found[:, : loss.channels].double(), wanted[:, : loss.channels].double())
        squares += torch.stack(
            [(pairs[0] - pairs[1]).square().sum(), pairs[1].square().sum()]
        ).cpu()
    return float((squares[0] / squares[1]).sqrt())


def spread(steps: Sequence[int]) -> list[int]:
    """At most five of some steps, the first and the last among them."""
    if len(steps) <= _MOST_STEPS:
        return list(steps)
    places = [round(i * (len(steps) - 1) / (_MOST_STEPS - 1)) for i in range(_MOST_STEPS)]
    return [steps[place] for place in places]
