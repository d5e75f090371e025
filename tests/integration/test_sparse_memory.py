"""What density segments hold, and that a change of grid makes nothing that is there already."""

from __future__ import annotations

import gc
from typing import Any

import torch
from tiny_models import FAMILIES, TinyFamily, every_family
from torch.utils._python_dispatch import TorchDispatchMode

import dit_accel
from dit_accel.install import installation_of
from dit_accel.learned_parts import fixed_density, learned_parts

GRIDS = [[3, 5], [4, 4], [8, 8]]
PLAN: dict[str, Any] = {
    "density": {
        "kind": "sparse",
        "grid": {"schedule": "steps", "values": GRIDS, "at": [0.4, 0.8]},
    }
}
MADE_FROM_NOTHING = {"aten.arange", "aten.linspace", "aten.sin", "aten.cos"}


class CountMade(TorchDispatchMode):
    """Counts operators that only maps and embeddings of grids need."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.made += str(func.overloadpacket) in MADE_FROM_NOTHING
        return func(*args, **(kwargs or {}))


def run(family: TinyFamily, transformer: Any) -> int:
    """How much is made in a run that goes through all grids."""
    counter = CountMade()
    with dit_accel.run(transformer, 6), counter:
        family.denoise(transformer, (1, 2), steps=6)
    return counter.made


def kept(transformer: Any) -> dict[str, int]:
    """Identities of everything that is made for a grid."""
    installation = installation_of(transformer)
    assert installation is not None and installation._hooks.density is not None
    hooks = installation._hooks.density
    cells = {f"cells {grid}": id(each) for grid, each in hooks._cells.items()}
    return cells | {f"positions {grid}": id(each) for grid, each in hooks._positions.items()}


def tensors_alive() -> int:
    gc.collect()
    return sum(isinstance(each, torch.Tensor) for each in gc.get_objects())


@every_family
def test_a_change_of_grid_makes_nothing_after_the_first_run(family: TinyFamily) -> None:
    transformer = dit_accel.accelerate(family.transformer(), PLAN)
    first, made, alive = run(family, transformer), kept(transformer), tensors_alive()
    assert sorted(made) == [
        *("cells 3x5", "cells 4x4"),
        *("positions 3x5", "positions 4x4", "positions 8x8"),
    ]
    again = run(family, transformer)  # sines of the timesteps alone
    assert first > again
    for _ in range(2):
        assert run(family, transformer) == again
        assert kept(transformer) == made and tensors_alive() <= alive


@every_family
def test_maps_and_embeddings_of_one_resolution_are_kept(family: TinyFamily) -> None:
    """A user who changes the resolution all the time must not fill the memory with them."""
    transformer = dit_accel.accelerate(family.transformer(), PLAN)
    for size in ((8, 8), (12, 12), (16, 16)):
        with dit_accel.run(transformer, 6):
            family.denoise(transformer, (1,), steps=6, size=size)
    assert sum(name.startswith("positions") for name in kept(transformer)) == 4


@every_family
def test_tokens_of_a_segment_are_freed_as_it_is_left(family: TinyFamily) -> None:
    transformer = dit_accel.accelerate(family.transformer(), PLAN)
    installation = installation_of(transformer)
    assert installation is not None
    condition, latents = family.condition((1,), torch.float32), torch.randn(1, 4, 8, 8)
    with fixed_density(transformer, (4, 4)):
        with torch.no_grad():
            family.predict(transformer, latents, 500, condition)
        assert all(state.entered is state.left is None for state in installation.segments)
        family.predict(transformer, latents, 400, condition)  # checkpointing will need them
        assert all(state.entered is not None for state in installation.segments)
    installation.end_run()
    assert all(state.entered is state.left is None for state in installation.segments)


def test_parts_are_made_of_numbers_where_the_weights_are_elsewhere() -> None:
    """Offloaded weights are on the meta device between two forwards."""
    transformer = FAMILIES["dit"].transformer().to("meta")
    parts = learned_parts(dit_accel.accelerate(transformer, PLAN))
    assert {part.device.type for part in parts.parameters()} == {"cpu"}
