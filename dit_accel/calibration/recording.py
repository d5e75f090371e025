"""Features along trajectories, kept as inner products: what blocks take in, what comes out.

Memory: `first blocks + 1` hidden states of the conditional rows for each of `WINDOW + 1` steps, in
the dtype of the run, and the outputs of a whole run. For DiT-XL/2 at 512 pixels with 8 samples in
half precision that is 0.6 GB, for small models some tens of MB.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from dit_accel.calibration.denoiser import Denoiser, Trajectories
from dit_accel.calibration.head import rows_of, through_head
from dit_accel.calibration.moments import Products, StepFit, step_fit
from dit_accel.errors import UnsupportedError
from dit_accel.integration.calls import argument_names, named_arguments, output_of
from dit_accel.plan import Plan
from dit_accel.sampling.variants import shared_copy

WINDOW = 10
"""How far back a forecast of blocks may look, in steps."""

LAST = "last"
"""Name of what leaves the last block; what enters block 3 is called `3`."""


class Recording:
    """What the fits need to know of some trajectories.

    Args:
        num_steps: of the run.
        firsts: the blocks at which the remembered span may begin.

    Attributes:
        guidance: inner products of the outputs of all steps.
        blocks: for each step those of the features at hand, through its output head.
    """

    def __init__(self, num_steps: int, firsts: Sequence[int]) -> None:
        self.num_steps, self.firsts = num_steps, tuple(firsts)
        names = [*map(str, firsts), LAST]
        self.blocks = [
            Products([(name, at) for at in window(step) for name in names])
            for step in range(num_steps)
        ]
        outputs = [(name, at) for at in range(num_steps) for name in ("conditional", "null")]
        self.guidance = Products(outputs)

    def fit_blocks(self, first: int, step: int, after: Sequence[int]) -> StepFit:
        """Fit the residual of the blocks from `first` on; the error is that of the output.

        Steps that lie too far back weigh nothing; the newest of `after` must not.
        """
        near = [at for at in after if at in window(step)]
        fit = step_fit(self.blocks[step], step, near, (LAST, str(first)), str(first))
        return fit._replace(weights=(*fit.weights, *[0.0] * (len(after) - len(near))))

    def fit_guidance(self, step: int, after: Sequence[int]) -> StepFit:
        """Fit the difference of conditional and unconditional output."""
        return step_fit(self.guidance, step, after, ("conditional", "null"), "conditional")


def window(step: int) -> range:
    """The steps whose features are at hand at `step`, newest first."""
    return range(step, max(-1, step - WINDOW - 1), -1)


class Recorder:
    """Records batches while they are denoised.

    Args:
        denoiser: whose transformer is watched.
        recording: takes in what is seen.
        plan: to denoise with. What is recorded is then what a dense transformer makes of the
            latents that the plan has led to; without one, of its own.
    """

    def __init__(self, denoiser: Denoiser, recording: Recording, plan: Plan | None = None) -> None:
        self._denoiser, self._recording, self._plan = denoiser, recording, plan
        student = denoiser.transformer
        self._teacher: Any = student if plan is None else shared_copy(student)
        self._blocks = denoiser.backbone.blocks(self._teacher)
        self._names = argument_names(self._teacher)
        self._channels = int(student.config.in_channels)
        self._hidden: deque[torch.Tensor] = deque(maxlen=WINDOW + 1)
        self._outputs: list[torch.Tensor] = []
        self._seen: dict[str, torch.Tensor] = {}
        self._watching = False
        self._trajectories: Trajectories | None = None

    def record(self, trajectories: Trajectories) -> torch.Tensor:
        """Denoise a batch; final latents `[B, C, h, w]`."""
        self._trajectories = trajectories
        self._hidden.clear()
        self._outputs = []
        with self._watched():
            latents = self._denoiser.run(trajectories, self._plan)
        if len(self._outputs) != self._recording.num_steps:
            raise _calls_a_step(len(self._outputs), self._recording.num_steps)
        self._recording.guidance.add(torch.cat(self._outputs))
        self._hidden.clear()
        return latents

    @contextmanager
    def _watched(self) -> Iterator[None]:
        handles = [self._tap(first) for first in self._recording.firsts]
        handles.append(self._blocks[-1].register_forward_hook(self._see_last))
        handles.append(self._teacher.register_forward_hook(self._finished, with_kwargs=True))
        student = self._denoiser.transformer
        if student is not self._teacher:
            handles.append(student.register_forward_pre_hook(self._teach, with_kwargs=True))
        self._watching = True
        try:
            yield
        finally:
            self._watching = False
            for handle in handles:
                handle.remove()

    def _teach(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._teacher(*args, **kwargs)

    def _tap(self, first: int) -> Any:
        def see(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._watching:
                self._seen[str(first)] = args[0] if args else kwargs["hidden_states"]

        return self._blocks[first].register_forward_pre_hook(see, with_kwargs=True)

    def _see_last(self, module: Any, args: Any, output: torch.Tensor) -> None:
        if self._watching:
            self._seen[LAST] = output

    def _finished(
        self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        self._watching = False  # the head is called by itself now
        arguments = named_arguments(self._names, args, kwargs)
        self._take_in(arguments, output_of(result))
        self._watching = True

    def _take_in(self, arguments: dict[str, Any], output: torch.Tensor) -> None:
        count, step, trajectories = len(output), len(self._outputs), self._trajectories
        assert trajectories is not None
        if step == self._recording.num_steps:
            raise _calls_a_step(step + 1, step)
        rows = self._denoiser.conditional_rows(count, trajectories)
        hidden = torch.stack([self._seen[name][rows] for name in self._feature_names])
        self._seen = {}
        self._hidden.appendleft(hidden)
        alone = {name: rows_of(value, rows, count) for name, value in arguments.items()}
        moved = [
            through_head(self._teacher.forward, self._blocks, alone, hidden[-1], features)
            for features in self._hidden
        ]
        self._recording.blocks[step].add(torch.cat(moved)[:, :, : self._channels])
        conditional = output[rows]
        null = _other_rows(output, rows) if trajectories.guided else conditional
        both = torch.stack([conditional, null])
        self._outputs.append(both[:, :, : self._channels].double())

    @property
    def _feature_names(self) -> list[str]:
        return [*map(str, self._recording.firsts), LAST]


def _calls_a_step(calls: int, steps: int) -> UnsupportedError:
    return UnsupportedError(
        f"pipe: {calls} transformer calls in a run of {steps} steps, expected one a step; use a"
        " pipeline that has both guidance rows in one call"
    )


def _other_rows(output: torch.Tensor, rows: slice) -> torch.Tensor:
    return output[rows.stop :] if rows.start == 0 else output[: rows.start]
