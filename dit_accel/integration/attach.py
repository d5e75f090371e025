"""Putting a hook on a module and taking it off without leaving a trace.

diffusers' `HookRegistry.remove_hook` leaves `forward` and `_diffusers_hook` on the module,
overwrites a hook that was registered later, and undoes whatever was wrapped around `forward`
since; all three are mended here.
"""

from __future__ import annotations

from typing import Any

from diffusers.hooks import HookRegistry, ModelHook
from torch import nn

HOOK_NAME = "dit_accel"
# Of the exact rewrites, which may share a module with a method of the plan.
EXACT_HOOK_NAME = "dit_accel_exact"
# Of the caches inside the blocks, around both.
CACHE_HOOK_NAME = "dit_accel_cache"
# Of density segments, inside of those of the caches over blocks.
DENSITY_HOOK_NAME = "dit_accel_density"
HOOK_NAMES = (HOOK_NAME, EXACT_HOOK_NAME, CACHE_HOOK_NAME, DENSITY_HOOK_NAME)


def attach(module: nn.Module, hook: ModelHook, name: str = HOOK_NAME) -> None:
    """Register `hook` on `module`; hooks of others, before or after ours, stay."""
    HookRegistry.check_if_exists_or_initialize(module).register_hook(hook, name)


def detach(module: nn.Module) -> None:
    """Remove our hooks from `module`, and everything that diffusers leaves behind with them."""
    for name in HOOK_NAMES:
        _detach(module, name)


def _detach(module: nn.Module, name: str) -> None:
    registry: Any = getattr(module, "_diffusers_hook", None)
    if registry is None or registry.get_hook(name) is None:
        return
    index = registry._hook_order.index(name)
    wrapper = _foreign_wrapper(module)
    following = registry._fn_refs[index + 1 : index + 2]
    forwards = [reference.forward for reference in following]
    registry.remove_hook(name, recurse=False)
    for reference, forward in zip(following, forwards, strict=True):
        if reference.original_forward is not None:  # it replaces forward: give it back its own
            reference.original_forward, reference.forward = reference.forward, forward
    if wrapper is not None and not following:
        module._old_forward, module.forward = vars(module)["forward"], wrapper
    if not registry.hooks:
        _tidy(module)


def detach_all(transformer: nn.Module) -> None:
    """Remove our hooks from `transformer` and everything inside it."""
    for module in transformer.modules():
        detach(module)


def _foreign_wrapper(module: nn.Module) -> Any:
    """What accelerate wrapped around our chain; it keeps the chain as `_old_forward`."""
    function = getattr(getattr(module, "_old_forward", None), "func", None)
    ours = getattr(function, "__qualname__", "").startswith("HookRegistry.register_hook")
    return vars(module).get("forward") if ours else None


def _tidy(module: nn.Module) -> None:
    """Drop the empty registry, and a `forward` that is the class's own."""
    del module._diffusers_hook
    forward = vars(module).get("forward")
    if getattr(forward, "__func__", None) is type(module).forward:
        del module.forward
