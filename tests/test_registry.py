"""Methods are found by family and name, and say what there is when they are not."""

from collections.abc import Iterator
from typing import Literal

import pytest

from dit_accel.errors import PlanError
from dit_accel.methods.config import MethodConfig
from dit_accel.methods.registry import SELECTORS, find, kinds, register, unregister
from dit_accel.plan import Plan
from dit_accel.span import Span


class ToyMerge(MethodConfig):
    kind: Literal["toy"] = "toy"
    ratio: float = 0.5
    layers: Span = Span(0.0, 1.0)


@pytest.fixture
def toy() -> Iterator[type[ToyMerge]]:
    yield register("merge", kind="toy")(ToyMerge)
    unregister("merge", "toy")


def test_a_registered_method_is_part_of_plans(toy: type[ToyMerge]) -> None:
    assert "toy" in kinds("merge")
    assert find("merge", "toy") is toy
    plan = Plan.load({"merge": {"kind": "toy", "ratio": 0.25}})
    assert plan.merge == ToyMerge(ratio=0.25)
    assert Plan.from_yaml(plan.to_yaml()) == plan
    assert (ToyMerge.family, ToyMerge.selector, ToyMerge().method) == ("merge", "kind", "toy")
    assert ToyMerge().limits == {"layers": Span(0.0, 1.0)}


def test_an_unregistered_method_is_gone(toy: type[ToyMerge]) -> None:
    unregister("merge", "toy")
    try:
        with pytest.raises(PlanError):
            find("merge", "toy")
    finally:
        register("merge", kind="toy")(toy)


def test_the_built_in_methods_are_found_without_being_imported() -> None:
    assert {"interval", "first_block"} <= set(kinds("policy"))
    assert "pooled" in kinds("density")
    assert "tome2d" in kinds("merge")
    assert "kv_downsample" in kinds("attention")


@pytest.mark.parametrize("family", SELECTORS)
def test_every_built_in_config_builds_what_find_says(family: str) -> None:
    for kind in kinds(family):
        config = find(family, kind)
        assert config.family == family
        assert config.model_fields[SELECTORS[family]].default == kind


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(PlanError) as raised:
        find("merge", "tome2")
    for part in ('kind: got "tome2"', "one of: ", "did you mean kind: tome2d?"):
        assert part in str(raised.value)


@pytest.mark.parametrize("kind", ["zzzz", 3, None, [3]])
def test_an_unknown_name_far_from_all_is_answered_with_an_example(kind: object) -> None:
    with pytest.raises(PlanError, match="write for instance kind: pooled"):
        find("density", kind)


def test_a_name_belongs_to_one_class(toy: type[ToyMerge]) -> None:
    class Other(MethodConfig):
        kind: Literal["toy"] = "toy"

    with pytest.raises(TypeError, match="'toy' is taken by ToyMerge"):
        register("merge", kind="toy")(Other)
    register("merge", kind="toy")(toy)  # the same class again, as when its module is reloaded


def test_registration_refuses_what_plans_could_not_use() -> None:
    class Nameless(MethodConfig):
        ratio: float = 0.5

    with pytest.raises(TypeError, match="needs a field kind: Literal"):
        register("policy", kind="nameless")(Nameless)
    with pytest.raises(TypeError, match="unknown family 'caches'; families: site"):
        register("caches", kind="toy")
