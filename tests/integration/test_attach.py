"""Hooks come off without a trace, in any company."""

from __future__ import annotations

from typing import Any

import accelerate as hf_accelerate
import pytest
import torch
from accelerate.hooks import ModelHook as AccelerateHook
from diffusers.hooks import HookRegistry, ModelHook
from torch import nn

from dit_accel.integration.attach import HOOK_NAME, attach, detach


class Scale(nn.Module):
    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states


class Add(ModelHook):
    """Adds after the module; replaces `forward` where told to."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def post_forward(self, module: nn.Module, output: Any) -> Any:
        return output + self.amount


class Replace(Add):
    def post_forward(self, module: nn.Module, output: Any) -> Any:
        return output

    def new_forward(self, module: nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.fn_ref.original_forward(hidden_states) + self.amount


class AccelerateAdd(AccelerateHook):
    def post_forward(self, module: nn.Module, output: Any) -> Any:
        return output + 100.0


def value(module: nn.Module) -> float:
    return float(module(torch.zeros(1)))


def register(module: nn.Module, hook: ModelHook, name: str) -> None:
    HookRegistry.check_if_exists_or_initialize(module).register_hook(hook, name)


@pytest.mark.parametrize("kind", [Add, Replace])
def test_attach_and_detach_leave_the_module_as_it_was(kind: type[Add]) -> None:
    module = Scale()
    before = dict(vars(module))
    for _ in range(2):
        attach(module, kind(1.0))
        assert value(module) == 1.0
        detach(module)
        assert vars(module) == before and value(module) == 0.0
    detach(module)
    assert vars(module) == before


@pytest.mark.parametrize("ours", [Add, Replace])
@pytest.mark.parametrize("theirs", [Add, Replace])
@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_hooks_of_others_go_on_in_every_order(
    ours: type[Add], theirs: type[Add], before: int, after: int
) -> None:
    module = Scale()
    for index in range(before):
        register(module, theirs(10.0), f"before {index}")
    attach(module, ours(1.0))
    for index in range(after):
        register(module, theirs(10.0), f"after {index}")
    assert value(module) == 1.0 + 10.0 * (before + after)
    detach(module)
    assert value(module) == 10.0 * (before + after)
    registry = getattr(module, "_diffusers_hook", None)
    assert (registry is None) == (before + after == 0)
    assert registry is None or HOOK_NAME not in registry.hooks


@pytest.mark.parametrize("ours", [Add, Replace])
@pytest.mark.parametrize("order", ["before", "after"])
def test_hooks_of_accelerate_go_on(ours: type[Add], order: str) -> None:
    module = Scale()
    if order == "before":
        hf_accelerate.hooks.add_hook_to_module(module, AccelerateAdd())
    attach(module, ours(1.0))
    if order == "after":
        hf_accelerate.hooks.add_hook_to_module(module, AccelerateAdd())
    assert value(module) == 101.0
    detach(module)
    assert value(module) == 100.0
    assert not hasattr(module, "_diffusers_hook")
    hf_accelerate.hooks.remove_hook_from_module(module)
    assert value(module) == 0.0


def test_a_forward_that_somebody_put_on_the_instance_comes_back() -> None:
    module = Scale()

    def theirs(hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states + 5.0

    module.forward = theirs
    attach(module, Add(1.0))
    assert value(module) == 6.0
    detach(module)
    assert module.forward is theirs
