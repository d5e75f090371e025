"""A run that has the grids of an adapter at other noise levels is warned of."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from tiny_adapters import adapter_for

import dit_accel
from dit_accel.adapters import save_adapter
from dit_accel.adapters.noise_levels import TrainedLevels
from dit_accel.adapters.record import AdapterRecord
from dit_accel.methods.reading import read_method
from dit_accel.tokens.grid import Grid

FULL = Grid(16, 16)
DENSITY = {
    "kind": "pooled",
    "grid": {"schedule": "steps", "values": [[4, 4], [8, 8], [16, 16]], "at": [0.25, 0.75]},
}


class Solver:
    def __init__(self, *timesteps: float) -> None:
        self.timesteps = torch.tensor(timesteps)


def trailing(steps: int) -> list[float]:
    return [1000.0 * (steps - step) / steps - 1 for step in range(steps)]


def shifted(steps: int, shift: float = 4.0) -> list[float]:
    """As flow-matching solvers do for high resolutions."""
    levels = [(steps - step) / steps for step in range(steps)]
    return [1000.0 * shift * level / (1 + (shift - 1) * level) for level in levels]


def levels(timesteps: list[float], density: dict[str, Any] = DENSITY) -> TrainedLevels:
    record = AdapterRecord(
        plan={"density": DENSITY},
        base="b",
        model="m",
        weights=(),
        trains="all",
        steps=1,
        timesteps=timesteps,
    )
    return TrainedLevels(record, read_method(density, "density"))


def warned(trained: TrainedLevels, *timesteps: float) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        solver = Solver(*timesteps)
        for _ in range(3):
            trained.check(solver, len(timesteps), FULL)
    return [str(each.message) for each in found]


@pytest.mark.parametrize("steps", [5, 8, 10, 13, 20, 50, 100])
def test_a_run_of_another_length_is_none_to_be_warned_of(steps: int) -> None:
    assert warned(levels(trailing(20)), *trailing(steps)) == []


def test_a_shift_of_the_noise_is_warned_of_once() -> None:
    (message,) = warned(levels(trailing(20)), *shifted(20))
    assert "trained on 8x8 tokens at timesteps 299 to 749" in message
    assert "this run has them at 632 to 923" in message


def test_grids_that_were_not_trained_and_dense_steps_have_no_levels() -> None:
    other = DENSITY | {"grid": [6, 6]}
    assert warned(levels(trailing(20), other), *shifted(20)) == []
    late = DENSITY | {"grid": [8, 8], "steps": [0.3, 0.7]}
    assert warned(levels(trailing(20), late), *trailing(20)) == []
    assert warned(levels([]), *shifted(20)) == []  # nobody knows


def test_pipelines_say_so_and_bare_transformers_cannot(dit, tmp_path) -> None:
    transformer = dit.transformer()
    adapter = adapter_for(dit, transformer)
    density = {"kind": "pooled", "grid": {"schedule": "steps", "values": [[2, 2], [4, 4]]}}
    density["grid"]["at"] = [0.5]
    changes = {"plan": {"density": density}, "timesteps": tuple(t / 4 for t in trailing(10))}
    record = adapter.record.model_copy(update=changes)
    save_adapter(type(adapter)(record, adapter.tensors), tmp_path)
    pipe = dit_accel.accelerate(dit.pipeline(), tmp_path)
    with pytest.warns(UserWarning, match="trained on 2x2 tokens at timesteps 150 to 250"):
        dit.generate(pipe, steps=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dit.generate(pipe, steps=6)
        dit.denoise(dit_accel.accelerate(transformer, tmp_path))
