"""Hears when a scheduler sets its timesteps and when it steps.

The two methods are wrapped on the scheduler *instance* and nothing else is touched; `stop` takes
the wrappers away. A deep copy of the scheduler is not observed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class _Observed:
    """Calls a method of a scheduler's class, then tells about it."""

    def __init__(self, scheduler: Any, method: str, heard: Callable[[], None]) -> None:
        self._scheduler, self._method, self._heard = scheduler, method, heard
        # Pipelines look at the signature (`timesteps`, `sigmas`, `eta`, `generator`).
        functools.update_wrapper(self, getattr(type(scheduler), method).__get__(scheduler))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = getattr(type(self._scheduler), self._method)(self._scheduler, *args, **kwargs)
        self._heard()
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        # Without this the copy's method would go on to act on the original scheduler.
        copied = memo[id(self._scheduler)]
        return getattr(type(copied), self._method).__get__(copied)


class SchedulerObserver:
    """Observes one scheduler at a time.

    Args:
        timesteps_set: called with the number of evaluations after each `set_timesteps`.
        stepped: called after each `step`.
    """

    def __init__(self, timesteps_set: Callable[[int], None], stepped: Callable[[], None]) -> None:
        self._timesteps_set, self._stepped = timesteps_set, stepped
        self.scheduler: Any = None

    def observe(self, scheduler: Any) -> None:
        """Move on to `scheduler`, letting go of the former one."""
        self.stop()
        self.scheduler = scheduler
        for method, heard in (("set_timesteps", self._on_timesteps), ("step", self._stepped)):
            setattr(scheduler, method, _Observed(scheduler, method, heard))

    def stop(self) -> None:
        """Take the wrappers away."""
        if self.scheduler is None:
            return
        for method in ("set_timesteps", "step"):
            if isinstance(vars(self.scheduler).get(method), _Observed):
                delattr(self.scheduler, method)
        self.scheduler = None

    def _on_timesteps(self) -> None:
        self._timesteps_set(len(self.scheduler.timesteps))
