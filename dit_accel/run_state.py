"""Where a run is: which step, which guidance call, which rows belong to one sample.

The position is known without reading a tensor from the device. A pipeline's run begins when its
scheduler sets its timesteps, and a step ends when the scheduler steps, so that solvers with two
evaluations a step and separate guidance calls are counted right. A loop over a bare transformer
says how long it is (`dit_accel.run`); without that, a rising timestep or another shape starts a
new run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dit_accel.errors import RunError

# Transformer calls between two steps of a scheduler: conditional, unconditional, and two to spare
# for guidance by more than one condition.
MOST_BRANCHES = 4


@dataclass(frozen=True)
class Position:
    """One call of the transformer.

    Attributes:
        step: index among the evaluations of the run.
        num_steps: how many there are, `None` if unknown.
        branch: 0 for the first call of this step, 1 for the second (separate guidance).
        fraction: 0 at the first step, 1 at the last.
        run: number of the run, so that whatever belongs to another run can be told apart.
    """

    step: int
    num_steps: int | None
    branch: int
    fraction: float
    run: int


class RunClock:
    """Counts the steps of one transformer's runs."""

    def __init__(self) -> None:
        self._run = 0
        self.forget()

    def forget(self) -> None:
        """No run is announced: the next call is placed by its timestep."""
        self._run += 1
        self.num_steps: int | None = None
        self._calls_per_step: int | None = None
        self._calls = 0
        self._step, self._branch = -1, 0
        self._step_ended = True
        self._first_timestep = self._last_timestep = 0.0

    def announce(self, num_steps: int, calls_per_step: int | None = None, first: int = 0) -> None:
        """A run of `num_steps` begins, at the step `first`.

        With `calls_per_step` every call counts; without it, `end_step` says when a step is over.
        """
        if num_steps < 1:
            raise RunError(f"timesteps: a run has at least one step, got {num_steps}")
        if not 0 <= first < num_steps:
            raise RunError(f"step: got {first}, expected one of 0 to {num_steps - 1} of the run")
        self.forget()
        self.num_steps, self._calls_per_step = num_steps, calls_per_step
        self._calls = first * (calls_per_step or 1)

    def end_step(self) -> bool:
        """The scheduler has stepped. Returns whether that was the last step of the run."""
        self._step_ended = True
        return self.num_steps is not None and self._step >= self.num_steps - 1

    def tick(self, timestep: Callable[[], float]) -> Position:
        """Count one call; `timestep` is read only when nothing was announced."""
        if self.num_steps is not None and self._calls_per_step is not None:
            self._count(self._calls_per_step)
        elif self.num_steps is not None and self._scheduler_leads():
            self._follow_scheduler()
        else:
            self._infer(timestep())
        return self._position()

    def _count(self, calls_per_step: int) -> None:
        self._step, self._branch = divmod(self._calls, calls_per_step)
        self._calls += 1
        if self.num_steps is not None and self._step >= self.num_steps:
            raise RunError(
                f"timesteps: call {self._calls} is beyond a run of {self.num_steps} steps with"
                f" {calls_per_step} call(s) each; open another dit_accel.run(...) for the next run,"
                " or set calls_per_step=2 for separate guidance calls"
            )

    def _scheduler_leads(self) -> bool:
        """Whether the announced run goes on; a scheduler that never steps was set and left."""
        if self._step_ended:
            return self.num_steps is not None and self._step + 1 < self.num_steps
        return self._branch + 1 < MOST_BRANCHES

    def _follow_scheduler(self) -> None:
        if self._step_ended:
            self._step, self._branch = self._step + 1, 0
        else:
            self._branch += 1
        self._step_ended = False

    def _infer(self, timestep: float) -> None:
        if self.num_steps is not None or self._step < 0 or timestep > self._last_timestep:
            self.forget()
            self._step, self._first_timestep = 0, timestep
        elif timestep == self._last_timestep:
            self._branch += 1
        else:
            self._step, self._branch = self._step + 1, 0
        self._last_timestep = timestep

    def _position(self) -> Position:
        if self.num_steps is not None:
            fraction = self._step / max(1, self.num_steps - 1)
        else:
            fraction = 1.0 - self._last_timestep / max(self._first_timestep, 1e-12)
        return Position(
            step=self._step,
            num_steps=self.num_steps,
            branch=self._branch,
            fraction=min(1.0, max(0.0, fraction)),
            run=self._run,
        )
