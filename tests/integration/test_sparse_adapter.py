"""A plan whose density segments were trained: put on, scoped, taken off, copied, calibrated."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from plans import SPARSE
from tiny_models import FAMILIES, TinyFamily, every_family

import dit_accel
from dit_accel.adapters import save_adapter
from dit_accel.adapters.adapter import Adapter
from dit_accel.adapters.record import AdapterRecord
from dit_accel.calibration.density import calibrate_density, recorded_calls
from dit_accel.calibration_record import model_hash, sampled_weights
from dit_accel.errors import PlanError, UnsupportedError
from dit_accel.learned_parts import learned_parts
from dit_accel.methods.sparse_layout import default_layout
from dit_accel.plan import Plan

LAYER = "transformer_blocks.1.attn1.to_q"
PLAN: dict[str, Any] = {"density": SPARSE}


def trained(family: TinyFamily, folder: Path, **plan: Any) -> dict[str, torch.Tensor]:
    """Saves an adapter with every learned part and one low-rank change; returns the parts."""
    transformer = family.transformer()
    record = AdapterRecord(
        plan=PLAN | plan,
        base=f"tiny {family.name}",
        model=model_hash(transformer),
        weights=sampled_weights(transformer),
        trains="lora",
        steps=3,
    )
    dit_accel.accelerate(transformer, PLAN | plan)
    generator = torch.Generator().manual_seed(2)

    def noise(*shape: int) -> torch.Tensor:
        return 0.1 * torch.randn(shape, generator=generator)

    fresh = learned_parts(transformer).state_dict()
    parts = {name: value + noise(*value.shape) for name, value in fresh.items()}
    width = transformer.get_submodule(LAYER).weight.shape[0]
    changes = {f"lora.{LAYER}.down": noise(2, width), f"lora.{LAYER}.up": noise(width, 2)}
    named = {f"learned.{name}": value for name, value in parts.items()}
    save_adapter(Adapter(record, named | changes), folder)
    return parts


def values(target: Any) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in learned_parts(target).state_dict().items()}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) for name in found
    )


@every_family
def test_a_plan_that_names_it_has_its_parts_and_restore_none(
    family: TinyFamily, tmp_path: Path
) -> None:
    parts = trained(family, tmp_path)
    pipe = family.pipeline()
    stock = family.generate(pipe)
    dit_accel.accelerate(pipe, tmp_path)
    assert same(values(pipe), parts)
    first = family.generate(pipe)
    untrained = family.generate(dit_accel.accelerate(family.pipeline(), PLAN))
    assert not torch.equal(first, untrained)
    dit_accel.accelerate(pipe, tmp_path)
    assert torch.equal(family.generate(pipe), first)
    dit_accel.restore(pipe)
    assert len(learned_parts(pipe)) == 0
    assert torch.equal(family.generate(pipe), stock)


def test_a_scoped_plan_gives_back_parts_and_weights_that_went_on_training(tmp_path: Path) -> None:
    family = FAMILIES["dit"]
    parts = trained(family, tmp_path)
    pipe = dit_accel.accelerate(family.pipeline(), tmp_path)
    learned = learned_parts(pipe)
    with torch.no_grad():
        next(learned.parameters()).add_(0.5)
    expected, now = family.generate(pipe), values(pipe)
    assert not same(now, parts)
    with dit_accel.accelerated(pipe, PLAN):
        assert not same(values(pipe), now)
        family.generate(pipe)
    assert learned_parts(pipe) is learned and same(values(pipe), now)
    assert torch.equal(family.generate(pipe), expected)


def test_a_copy_is_told_to_get_a_plan_and_gets_parts_of_its_own(tmp_path: Path) -> None:
    family = FAMILIES["alpha"]
    trained(family, tmp_path)
    transformer = dit_accel.accelerate(family.transformer(), tmp_path)
    copied = copy.deepcopy(transformer)
    latents, condition = torch.randn(1, 4, 8, 8), family.condition((1,), torch.float32)
    with pytest.raises(UnsupportedError, match="copy of an accelerated one"):
        family.predict(copied, latents, 500, condition)
    dit_accel.restore(copied)
    stock = family.transformer().state_dict()
    assert all(torch.equal(value, stock[name]) for name, value in copied.state_dict().items())
    dit_accel.accelerate(copied, tmp_path)
    assert learned_parts(copied) is not learned_parts(transformer)
    with torch.no_grad():
        got = family.predict(copied, latents, 500, condition)
        assert torch.equal(got, family.predict(transformer, latents, 500, condition))


def test_another_layout_is_refused_and_the_model_left_as_it_was(tmp_path: Path) -> None:
    family = FAMILIES["dit"]
    trained(family, tmp_path)
    pipe = family.pipeline()
    stock = family.generate(pipe)
    two = SPARSE | {"layout": {"segments": 2, "group": [1, 0, 1, 0]}}
    document = Plan.load(tmp_path).to_dict() | {"density": two}
    message = r"for density\.layout \{.*segments\": 1.*, but the plan.s is \{.*segments\": 2"
    with pytest.raises(PlanError, match=message):
        dit_accel.accelerate(pipe, document)
    assert torch.equal(family.generate(pipe), stock)


@pytest.mark.parametrize("aloud_in", ["plan", "adapter"])
def test_the_default_layout_said_aloud_is_the_one_left_out(tmp_path: Path, aloud_in: str) -> None:
    family = FAMILIES["dit"]
    layout = default_layout(len(family.transformer().transformer_blocks))
    aloud = SPARSE | {"layout": layout.model_dump(mode="json"), "form": "delta", "detail": True}
    parts = trained(family, tmp_path, density=aloud if aloud_in == "adapter" else SPARSE)
    document = {"density": aloud if aloud_in == "plan" else SPARSE, "adapter": str(tmp_path)}
    assert same(values(dit_accel.accelerate(family.transformer(), document)), parts)


def test_another_form_and_parts_without_the_detail_are_refused(tmp_path: Path) -> None:
    family = FAMILIES["dit"]
    trained(family, tmp_path)
    for changes, message in (
        ({"form": "paper"}, r"density\.form \"delta\", but the plan's is \"paper\""),
        ({"detail": False}, r"density\.detail true, but the plan's is false"),
    ):
        document = {"density": SPARSE | changes, "adapter": str(tmp_path)}
        with pytest.raises(PlanError, match=message):
            dit_accel.accelerate(family.transformer(), document)


def test_it_is_not_calibrated_over(tmp_path: Path) -> None:
    family = FAMILIES["dit"]
    parts = trained(family, tmp_path)
    transformer = family.transformer()
    with recorded_calls(transformer) as calls:
        family.denoise(transformer, (1,), steps=2)
    dit_accel.accelerate(transformer, tmp_path)
    with pytest.raises(UnsupportedError, match="calibrate the plan without its adapter"):
        calibrate_density(transformer, [calls])
    assert same(values(transformer), parts)


def test_what_was_calibrated_survives_a_scoped_plan() -> None:
    family = FAMILIES["dit"]
    transformer = family.transformer()
    with recorded_calls(transformer) as calls:
        family.denoise(transformer, (1, 2), steps=4)
    dit_accel.accelerate(transformer, PLAN)
    calibrate_density(transformer, [calls])
    now = values(transformer)
    with dit_accel.accelerated(transformer, {}):
        pass
    assert same(values(transformer), now)
