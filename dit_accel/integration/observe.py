"""Hears when a scheduler sets its timesteps and when it steps.

The two methods are wrapped on the scheduler *instance* and nothing else is touched; `stop` takes
the wrappers away and gives back what somebody else had put there. A deep copy of the scheduler is
not observed. Listeners are held weakly, so that a scheduler does not keep a model alive.
"""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeAlias

import torch

Listener: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], None]


class _Observed:
    """A method of a scheduler that tells its listeners after each call what it was given."""

    def __init__(self, scheduler: Any, method: str) -> None:
        # Pipelines look at the signature (`timesteps`, `sigmas`, `eta`, `generator`).
        functools.update_wrapper(self, getattr(scheduler, method))
        self.listeners: list[weakref.WeakMethod[Listener]] = []
        self._scheduler, self._method = scheduler, method
        # Set where somebody else has put a function of theirs on this instance.
        self._former = vars(scheduler).get(method)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = (self._former or self._method_of(self._scheduler))(*args, **kwargs)
        for reference in tuple(self.listeners):
            listener = reference()
            if listener is not None:
                listener(args, kwargs)
        return result

    def forget(self, listener: Listener) -> None:
        """Tell `listener` no more; without listeners, leave the scheduler as it was."""
        left = [reference for reference in self.listeners if reference() not in (None, listener)]
        self.listeners = left
        if left or vars(self._scheduler).get(self._method) is not self:
            return
        if self._former is None:
            delattr(self._scheduler, self._method)
        else:
            setattr(self._scheduler, self._method, self._former)

    def _method_of(self, scheduler: Any) -> Any:
        return getattr(type(scheduler), self._method).__get__(scheduler)

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickled scheduler takes its class's own method along, not who listened here.
        return getattr, (self._scheduler, self._method)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        # Without this the copy's method would go on to act on the original scheduler.
        if self._former is not None:
            return copy.deepcopy(self._former, memo)
        return self._method_of(memo[id(self._scheduler)])


class SchedulerObserver:
    """Observes one scheduler at a time.

    Args:
        timesteps_set: called with the number of evaluations after each `set_timesteps`.
        stepped: called after each `step` with the batch rows of its sample, `None` if not told.
    """

    def __init__(
        self, timesteps_set: Callable[[int], None], stepped: Callable[[int | None], None]
    ) -> None:
        self._timesteps_set, self._stepped = timesteps_set, stepped
        self._observed: list[tuple[_Observed, Listener]] = []
        self.scheduler: Any = None

    def observe(self, scheduler: Any) -> None:
        """Move on to `scheduler`, letting go of the former one."""
        self.stop()
        self.scheduler = scheduler
        for method, listener in (("set_timesteps", self._on_timesteps), ("step", self._on_step)):
            observed = vars(scheduler).get(method)
            if not isinstance(observed, _Observed):
                observed = _Observed(scheduler, method)
                setattr(scheduler, method, observed)
            observed.listeners.append(weakref.WeakMethod(listener))
            self._observed.append((observed, listener))

    def stop(self) -> None:
        """Take the wrappers away."""
        for observed, listener in self._observed:
            observed.forget(listener)
        self._observed, self.scheduler = [], None

    def _on_timesteps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._timesteps_set(len(self.scheduler.timesteps))

    def _on_step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # step(model_output, timestep, sample, …), in all of diffusers
        sample = kwargs.get("sample", args[2] if len(args) > 2 else None)
        self._stepped(len(sample) if torch.is_tensor(sample) else None)
