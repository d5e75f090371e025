"""A module's call: its arguments by name, however they were handed over, and its output."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers.hooks import ModelHook
from torch import nn


def argument_names(module: nn.Module) -> list[str]:
    """Names of the arguments of a module's own forward, `self` left out."""
    return list(inspect.signature(type(module).forward).parameters)[1:]


def named_arguments(
    names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that a call was given, by name.

    Args:
        names: of the arguments that may come by position, in order.
        args: those that did.
        kwargs: the others.
    """
    return {**dict(zip(names, args, strict=False)), **kwargs}


def output_of(result: Any) -> torch.Tensor:
    """The tensor in what a transformer returns."""
    output: torch.Tensor = result[0] if isinstance(result, tuple) else result.sample
    return output


class NamedArgumentsHook(ModelHook):
    """Knows its module's arguments by name; gradient checkpointing hands all over by position."""

    # Arguments that the hook's own forward takes by itself, before the others.
    taken: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self._names: list[str] = []

    def initialize_hook(self, module: nn.Module) -> nn.Module:
        """Learn the names of the arguments."""
        self._names = argument_names(module)[self.taken :]
        return module

    def named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """What is left of a call's arguments, by name."""
        return named_arguments(self._names, args, kwargs)
