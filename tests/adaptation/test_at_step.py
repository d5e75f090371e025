"""One forward as a step of a declared run is what that step of the whole run is."""

from __future__ import annotations

import pytest
import torch
from tiny_models import TinyFamily, every_family, noise

import dit_accel
from dit_accel.errors import RunError
from dit_accel.install import at_step, installation_of

PLAN = {
    "density": {"kind": "pooled", "grid": {"schedule": "linear", "start": [2, 2], "end": [8, 8]}}
}
STEPS = 5


@every_family
def test_it_is_that_step_of_the_whole_run(family: TinyFamily):
    transformer = dit_accel.accelerate(family.transformer(), PLAN)
    condition = family.condition((1, 2), torch.float32)
    latents = noise((1, 2), (8, 8), torch.float32)
    times = [900 - 100 * step for step in range(STEPS)]
    with torch.no_grad():
        with dit_accel.run(transformer, STEPS):
            whole = [family.predict(transformer, latents, time, condition) for time in times]
        for step in (3, 0, 4, 1, 2):
            with at_step(transformer, step, STEPS):
                found = family.predict(transformer, latents, times[step], condition)
            assert torch.equal(found, whole[step])
        dit_accel.restore(transformer)
        assert not torch.equal(family.predict(transformer, latents, times[0], condition), whole[0])
        assert torch.equal(family.predict(transformer, latents, times[4], condition), whole[4])


def test_steps_beyond_the_run_are_refused():
    from tiny_models import FAMILIES

    transformer = dit_accel.accelerate(FAMILIES["dit"].transformer(), PLAN)
    for step in (-1, 5):
        message = f"step: got {step}, expected one of 0 to 4"
        with pytest.raises(RunError, match=message), at_step(transformer, step, 5):
            pass


def test_nothing_is_left_of_it_for_the_next_run():
    from tiny_models import FAMILIES

    family = FAMILIES["dit"]
    transformer = dit_accel.accelerate(family.transformer(), PLAN)
    expected = family.denoise(transformer)
    with at_step(transformer, 2, 5), torch.no_grad():
        family.predict(
            transformer,
            noise((1, 2, 3), (8, 8), torch.float32),
            500,
            family.condition((1, 2, 3), torch.float32),
        )
    assert installation_of(transformer).clock.num_steps is None
    assert torch.equal(family.denoise(transformer), expected)
