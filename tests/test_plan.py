"""Plans: YAML in and out, what is refused and in which words, contradictions, presets."""

import copy
import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dit_accel import presets
from dit_accel.errors import PlanError
from dit_accel.methods.registry import find
from dit_accel.plan import Plan
from dit_accel.presets import preset_names, preset_path, published_names

# The example of the documentation: one method of each family.
EXAMPLE = """
cache:     {predictor: {kind: polynomial, order: 2}, policy: {kind: interval, interval: 3}}
density:   {kind: pooled, grid: {schedule: linear, start: [8, 8], end: [16, 16]}, layers: [2, 6]}
merge:     {kind: tome2d, ratio: {schedule: cosine, start: 0.5, end: 0.2}, at: [attention],
            layers: [6, 10]}
attention: {kind: kv_downsample, factor: 2, steps: [0.0, 0.6]}
"""


def refusal(document: Any) -> str:
    """The message with which a plan file is refused, from YAML text or from a mapping."""
    with pytest.raises(PlanError) as raised:
        Plan.from_yaml(document) if isinstance(document, str) else Plan.load(document)
    return str(raised.value)


def schedules(low: float, high: float) -> st.SearchStrategy[Any]:
    value = st.floats(low, high).map(lambda x: round(x, 4)) | st.integers(int(low) + 1, int(high))
    moving = st.fixed_dictionaries(
        {"schedule": st.sampled_from(["linear", "cosine"]), "start": value, "end": value}
    )
    stages = st.tuples(value, value, st.floats(0.01, 0.99)).map(
        lambda t: {"schedule": "steps", "values": [t[0], t[1]], "at": [t[2]]}
    )
    return value | moving | stages


def spans(low: float = 0.0, high: float = 1.0) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(low, high), min_size=2, max_size=2, unique=True).map(sorted)


def method(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    fixed = {key: st.just(value) for key, value in required.items()}
    return st.fixed_dictionaries(fixed, optional=optional)


PREDICTORS = st.sampled_from(["reuse", "polynomial", "foca"]) | st.fixed_dictionaries(
    {"kind": st.just("polynomial")},
    optional={"order": st.integers(0, 3), "damping": st.floats(0, 1)},
)
BLOCK_SITES = st.sampled_from(["model", "block", "deep", {"kind": "deep", "first": 2, "last": -2}])
HISTORY = {"predictor": PREDICTORS, "history": st.sampled_from(["run", "float32"])}
INTERVALS = st.just("interval") | method({"kind": "interval"}, {"interval": schedules(1, 9)})
LISTS = st.sets(st.integers(1, 50)).map(lambda s: {"kind": "list", "compute": [0, *sorted(s)]})
CACHES = st.fixed_dictionaries(
    {"policy": INTERVALS | LISTS},
    optional={**HISTORY, "site": BLOCK_SITES, "guard": st.sampled_from(["auto", False, 3, 4.5])},
) | st.fixed_dictionaries(
    {"policy": method({"kind": "first_block"}, {"threshold": schedules(0, 1)})},
    optional={**HISTORY, "site": BLOCK_SITES, "deterministic": st.booleans()},
)
GUIDANCE_CACHES = st.fixed_dictionaries(
    {"site": st.just("guidance"), "policy": INTERVALS | LISTS}, optional=HISTORY
)
plan_documents = st.fixed_dictionaries(
    {},
    optional={
        "cache": CACHES | GUIDANCE_CACHES | st.tuples(CACHES, GUIDANCE_CACHES).map(list),
        "density": schedules(1, 8)
        .flatmap(
            lambda pool: method(
                {"kind": "pooled", "pool": pool}, {"layers": spans(0.0, 0.5), "steps": spans()}
            )
        )
        .map(lambda document: {"layers": [0.0, 0.5], **document}),
        "merge": method(
            {"kind": "tome2d"},
            {"ratio": st.floats(0, 0.75), "layers": spans(0.5, 1.0), "steps": spans()},
        ).map(lambda document: {"layers": [0.5, 1.0], **document}),
        "attention": method(
            {"kind": "kv_downsample"}, {"factor": schedules(1, 4), "layers": st.just([2, 6])}
        ),
        "seed": st.integers(0, 2**31),
    },
)


@given(plan_documents)
def test_a_plan_is_written_and_read_back_identical(document: dict[str, Any]) -> None:
    plan = Plan.load(document)
    again = Plan.from_yaml(plan.to_yaml())
    assert again == plan
    assert again.to_yaml() == plan.to_yaml()
    assert again.fingerprint == plan.fingerprint
    assert Plan.load(plan.to_dict()) == plan
    assert pickle.loads(pickle.dumps(plan)) == plan == copy.deepcopy(plan)
    assert hash(again) == hash(plan)
    assert plan.is_empty == (not set(document) - {"seed"})


@given(plan_documents, plan_documents)
def test_fingerprints_agree_exactly_when_plans_do(a: dict[str, Any], b: dict[str, Any]) -> None:
    first, second = Plan.load(a), Plan.load(b)
    assert (first == second) == (first.fingerprint == second.fingerprint)


def test_the_documented_example() -> None:
    plan = Plan.from_yaml(EXAMPLE)
    assert list(plan.methods) == ["cache", "density", "merge", "attention"]
    assert [config.method for config in plan.methods.values()] == [
        "model/polynomial/interval",
        "pooled",
        "tome2d",
        "kv_downsample",
    ]
    plan.check_against(num_layers=10, num_steps=20)
    assert Plan.from_yaml(plan.to_yaml()) == plan


def test_only_what_differs_from_the_defaults_is_written() -> None:
    assert Plan().to_yaml() == "{}\n"
    plan = Plan.from_yaml("merge: {kind: tome2d, ratio: 0.25, reuse_steps: 1}\nexact: false")
    assert plan.to_yaml() == "merge: {kind: tome2d, ratio: 0.25}\n"


def test_the_empty_plan() -> None:
    assert Plan() == Plan.from_yaml("") == Plan.from_yaml("# nothing") == Plan.load({})
    assert Plan().is_empty
    assert Plan(seed=3).is_empty
    assert not Plan.from_yaml("attention: {kind: kv_downsample}").is_empty
    canonical = json.dumps({"exact": False, "seed": 0}).encode()
    assert Plan().fingerprint == hashlib.sha256(canonical).hexdigest()[:16]


def test_equal_numbers_written_unlike_make_equal_plans() -> None:
    plans = [
        Plan.from_yaml(f"cache: {{policy: {{kind: interval, interval: {k}}}}}")
        for k in ("3", "3.0")
    ]
    assert plans[0] == plans[1]
    assert plans[0].fingerprint == plans[1].fingerprint
    first = Plan.from_yaml("attention: {kind: kv_downsample, layers: [0, 1]}")
    every = Plan.from_yaml("attention: {kind: kv_downsample, layers: [0.0, 1.0]}")
    assert first != every
    assert first.fingerprint != every.fingerprint


def test_a_plan_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Plan().seed = 3  # type: ignore[misc]


# --- sources -----------------------------------------------------------------------------------


def test_loads_from_every_source(tmp_path: Path) -> None:
    plan = Plan.from_yaml(EXAMPLE)
    path = tmp_path / "mine.yaml"
    path.write_text(EXAMPLE)
    assert Plan.load(plan) is plan
    assert Plan.load(path) == Plan.load(str(path)) == Plan.load(plan.to_dict()) == plan
    config = find("attention", "kv_downsample")(factor=2, steps=[0.0, 0.6])
    assert Plan(attention=config).attention == plan.attention


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two presets in the place of those that ship."""
    for name in ("balanced", "fast"):
        (tmp_path / f"{name}.yaml").write_text(EXAMPLE)
    monkeypatch.setattr(presets, "config_folder", lambda name: tmp_path)
    return tmp_path


def test_presets_are_found_by_name(shipped: Path) -> None:
    assert preset_names() == ("balanced", "fast")
    assert preset_path("fast") == shipped / "fast.yaml"
    assert Plan.load("balanced") == Plan.from_yaml(EXAMPLE)


def test_a_preset_comes_before_a_file_of_its_name(
    shipped: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    Path("fast").write_text("seed: 7")
    assert Plan.load("fast").seed == 0
    assert Plan.load("./fast").seed == 7


def test_an_unknown_preset_is_answered_with_the_nearest(shipped: Path) -> None:
    message = refusal_of_source("balancd")
    for part in ('got "balancd"', "balanced, fast", "did you mean 'balanced'?", "a path works too"):
        assert part in message


def test_a_missing_file_is_named(shipped: Path) -> None:
    message = refusal_of_source("plans/nothing.yaml")
    for part in ("plans/nothing.yaml", "a YAML file that exists", "balanced, fast"):
        assert part in message


def test_a_refused_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("sed: 3")
    message = refusal_of_source(path)
    assert message.startswith(f"{path}: sed: unknown key (value 3); did you mean 'seed'?")
    assert "cannot read the file" in refusal_of_source(tmp_path)


def test_any_other_source_is_refused() -> None:
    message = refusal_of_source(3)
    assert "a preset's name, the path of a YAML file, a mapping or a Plan" in message


def refusal_of_source(source: Any) -> str:
    with pytest.raises(PlanError) as raised:
        Plan.load(source)
    return str(raised.value)


@pytest.mark.parametrize("name", [*preset_names(), *published_names()])
def test_every_shipped_preset_loads_and_fits_any_model_and_run(name: str) -> None:
    plan = Plan.load(name)
    assert Plan.from_yaml(plan.to_yaml()) == plan
    for num_layers in (10, 28, 40):
        for num_steps in (1, 20, 50, 99):
            plan.check_against(num_layers, num_steps)


# --- mistakes: each message has the path, the value, what was expected, and the remedy -----------


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        # unknown keys
        ("mrge: 3", ["mrge: unknown key (value 3)", "did you mean 'merge'?", "valid keys: exact,"]),
        ("zzz: 1", ["zzz: unknown key (value 1); valid keys: exact, cache, density, merge"]),
        ("1: 2", ["1: unknown key (value 2)"]),
        # keys that YAML does not read as text
        ("exact: {on: 1}", ["exact: got the key true, expected text", "in quotes", "on, yes"]),
        (
            "calibration: {model: m, weights: [{off: 2}]}",
            ["calibration.weights[0]: got the key fa"],
        ),
        ("merge: {kind: tome2d, ratio: {2: 1}}", ["merge.ratio: got the key 2, expected text"]),
        (
            "cache: {policy: {kind: interval, intervall: 3}}",
            ["cache.policy.intervall: unknown key (value 3)", "did you mean 'interval'?"],
        ),
        (
            "merge: {kind: tome2d, ratio: {schedule: linear, start: 0.5, stop: 0.2}}",
            ["merge.ratio.stop: unknown key (value 0.2)", "a linear schedule takes: start, end"],
        ),
        # wrong types
        ("seed: '3'", ['seed: got "3", expected an integer; write it without quotes: seed: 3']),
        ("seed: '3.5'", ['seed: got "3.5", expected an integer; the default is seed: 0']),
        (
            "cache: {policy: interval, predictor: {kind: polynomial, damping: '0.5'}}",
            [
                "cache.predictor.damping: got",
                "expected a number; write it without quotes: damping: 0.5",
            ],
        ),
        ("seed: true", ["seed: got true, expected an integer", "the default is seed: 0"]),
        ("seed: 1.5", ["seed: got 1.5, expected an integer", "the default is seed: 0"]),
        ("exact: 1", ["exact: got 1, expected true or false", "write exact: true"]),
        ("cache: 3", ["cache: got 3, expected a mapping", "{kind: interval, interval: 3}"]),
        ("cache: []", ["cache: got [], expected a mapping", "write for instance cache:"]),
        (
            "cache: {policy: interval, predictor: {kind: polynomial, order: two}}",
            ['cache.predictor.order: got "two", expected an integer', "the default is order: 1"],
        ),
        (
            "cache: {policy: interval, predictor: {kind: polynomial, damping: .nan}}",
            [
                "cache.predictor.damping: got NaN, expected a finite number",
                "the default is damping: 1.0",
            ],
        ),
        (
            "cache: {policy: interval, predictor: {kind: polynomial, damping: true}}",
            ["cache.predictor.damping: got true, expected a number"],
        ),
        (
            "merge: {kind: tome2d, ratio: half}",
            ['merge.ratio: got "half", expected a number', "without quotes"],
        ),
        (
            "merge: {kind: tome2d, at: attention}",
            ['merge.at: got "attention", expected a list', 'the default is at: ["attention"]'],
        ),
        (
            "merge: {kind: tome2d, layers: 3}",
            ["merge.layers: got 3, expected [start, stop)", "write a list of two numbers"],
        ),
        # impossible values
        (
            "merge: {kind: tome2d, ratio: -0.2}",
            ["merge.ratio: got -0.2, expected numbers of at least 0", "use 0 or more"],
        ),
        (
            "cache: {policy: interval, predictor: {kind: polynomial, order: 7}}",
            [
                "cache.predictor.order: got 7, expected a value of at least 0 and at most 3",
                "use 3 or less",
            ],
        ),
        ("seed: -1", ["seed: got -1, expected a value of at least 0; use 0 or more"]),
        (
            "cache: {policy: {kind: interval, interval: 0}}",
            ["cache.policy.interval: got 0, expected numbers of at least 1", "use 1 or more"],
        ),
        (
            "cache: {policy: interval, predictor: polynomal}",
            ['cache.predictor: got "polynomal"', "polynomial, reuse", "kind: polynomial?"],
        ),
        (
            "merge: {kind: tome2d, at: [attn]}",
            ["merge.at[0]: got \"attn\", expected 'attention' or", "did you mean 'attention'?"],
        ),
        (
            "merge: {kind: tome2d, layers: [6, 2]}",
            ["merge.layers: got [6, 2], expected start < stop", "swap the ends"],
        ),
        (
            "exact: {modulation: true}",
            ["exact.modulation: unknown key", "did you mean 'modulations'?"],
        ),
        # the name of the method
        (
            "cache: {policy: intervl}",
            [
                'cache.policy: got "intervl"',
                "easy, first_block, input_change, interval, list",
                "did you mean kind: interval",
            ],
        ),
        (
            "cache: {kind: interval}",
            ["cache.policy: missing; add 'policy: …'", "cache.kind: unknown key"],
        ),
        ("density: {kind: zzz}", ['density.kind: got "zzz"', "write for instance kind: pooled"]),
        # the document
        ("seed: 1\nseed: 2", ['duplicate key "seed"', "line 2", "keep one"]),
        ("[cache]", ['got ["cache"], expected a mapping', "write 'key: value' lines"]),
    ],
)
def test_a_mistake_is_named_with_its_remedy(document: str, parts: list[str]) -> None:
    message = refusal(document)
    for part in parts:
        assert part in message


def test_all_mistakes_are_listed_at_once() -> None:
    lines = refusal(
        """
        cache: {policy: interval, predictor: {kind: polynomial, ordr: 2, order: 7}}
        merge: {kind: tome2d, ratio: -1}
        attention: {kind: nope}
        seed: x
        """
    ).splitlines()
    assert lines[0] == "plan: 5 problems"
    paths = [line.strip().split(":")[0] for line in lines[1:]]
    assert paths == [
        "cache.predictor.order",
        "cache.predictor.ordr",
        "merge.ratio",
        "attention.kind",
        "seed",
    ]


def test_a_mistake_in_python_is_worded_alike() -> None:
    with pytest.raises(PlanError, match=r"Plan: seed: got -1, expected a value of at least 0"):
        Plan(seed=-1)
    with pytest.raises(PlanError, match=r"Polynomial: order: got 7, expected a value"):
        find("predictor", "polynomial")(order=7)


def test_a_config_of_another_family_is_refused() -> None:
    with pytest.raises(PlanError, match=r"cache: got .*PooledDensity.*family 'cache'.*density=…"):
        Plan(cache=find("density", "pooled")(pool=2))


def test_a_refusal_survives_the_way_to_another_process() -> None:
    with pytest.raises(PlanError) as raised:
        Plan.from_yaml("sed: 3")
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


# --- against a model, and against each other -----------------------------------------------------


def test_a_layer_range_outside_the_model_is_refused() -> None:
    plan = Plan.from_yaml("merge: {kind: tome2d, layers: [20, 40]}")
    plan.check_against(num_layers=40)
    with pytest.raises(PlanError) as raised:
        plan.check_against(num_layers=10)
    for part in (
        "merge.layers: got [20, 40]",
        "there are 10 layers (0..9)",
        "write for instance [5, 10], or fractions such as [0.5, 1.0]",
    ):
        assert part in str(raised.value)


def test_a_step_range_outside_the_run_is_refused_once_its_length_is_known() -> None:
    plan = Plan.from_yaml("attention: {kind: kv_downsample, steps: [10, 30], layers: [0, 11]}")
    plan.check_against(num_layers=28)
    with pytest.raises(PlanError) as raised:
        plan.check_against(num_layers=10, num_steps=20)
    for part in ("2 problems", "attention.layers: got [0, 11]", "attention.steps: got [10, 30]"):
        assert part in str(raised.value)


def two_token_methods(density: str, merge: str) -> str:
    return f"density: {{kind: pooled, pool: 2, {density}}}\nmerge: {{kind: tome2d, {merge}}}"


def test_two_token_methods_in_one_cell_are_refused() -> None:
    message = refusal(two_token_methods("layers: [2, 7]", "layers: [6, 9]"))
    for part in (
        "density (pooled, layers [2, 7], steps [0.0, 1.0])",
        "merge (tome2d, layers [6, 9], steps [0.0, 1.0])",
        "both remove tokens in the same cells, expected at most one such method in a cell",
        "give them 'layers' or 'steps' that do not overlap",
        "density: {layers: [0.0, 0.5]}, merge: {layers: [0.5, 1.0]}",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("density", "merge"),
    [
        ("layers: [0.0, 1.0]", "layers: [6, 9]"),  # all layers meet any
        ("layers: [0.0, 0.6]", "layers: [0.5, 1.0]"),
        ("layers: [0, 4], steps: [0, 9]", "layers: [3, 6], steps: [8, 20]"),
    ],
)
def test_overlaps_are_refused_in_every_unit(density: str, merge: str) -> None:
    assert "both remove tokens" in refusal(two_token_methods(density, merge))


@pytest.mark.parametrize(
    ("density", "merge"),
    [
        ("layers: [2, 6]", "layers: [6, 10]"),
        ("layers: [0.0, 0.5]", "layers: [0.5, 1.0]"),
        ("steps: [0.0, 0.5]", "steps: [0.5, 1.0]"),
        ("layers: [0, 4], steps: [0, 9]", "layers: [3, 6], steps: [9, 20]"),
    ],
)
def test_two_token_methods_in_different_cells_are_accepted(density: str, merge: str) -> None:
    Plan.from_yaml(two_token_methods(density, merge)).check_against(10, 20)


def test_ranges_in_different_units_are_compared_on_the_model() -> None:
    plan = Plan.from_yaml(two_token_methods("layers: [0, 4]", "layers: [0.25, 1.0]"))
    plan.check_against(num_layers=16)
    with pytest.raises(PlanError, match="both remove tokens in the same cells"):
        plan.check_against(num_layers=10)


def test_steps_in_different_units_are_compared_in_the_run() -> None:
    plan = Plan.from_yaml(two_token_methods("steps: [0, 10]", "steps: [0.5, 1.0]"))
    plan.check_against(num_layers=10)
    plan.check_against(num_layers=10, num_steps=20)
    with pytest.raises(PlanError, match="both remove tokens in the same cells"):
        plan.check_against(num_layers=10, num_steps=18)


def test_a_config_can_refuse_what_it_cannot_be_combined_with() -> None:
    message = refusal("cache: {policy: first_block}\nmerge: {kind: tome2d, reuse_steps: 2}")
    for part in ("first_block", "merge.reuse_steps", "must be 1", "set it to 1"):
        assert part in message
    Plan.from_yaml("cache: {policy: interval}\nmerge: {kind: tome2d, reuse_steps: 2}")
