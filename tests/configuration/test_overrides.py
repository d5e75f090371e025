"""``--set a.b=c``."""

from typing import Any

import pytest

from dit_accel.configuration.overrides import override
from dit_accel.errors import PlanError


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("seed=3", {"merge": {"ratio": 0.5}, "plan": "fast", "seed": 3}),
        ("merge.ratio=1e-2", {"merge": {"ratio": 0.01}, "plan": "fast"}),
        ("merge.at=[attention]", {"merge": {"ratio": 0.5, "at": ["attention"]}, "plan": "fast"}),
        ("merge=null", {"merge": None, "plan": "fast"}),
        ("merge.name=a=b", {"merge": {"ratio": 0.5, "name": "a=b"}, "plan": "fast"}),
        ("cache.a.b=1", {"merge": {"ratio": 0.5}, "plan": "fast", "cache": {"a": {"b": 1}}}),
        ("plan={seed: 1}", {"merge": {"ratio": 0.5}, "plan": {"seed": 1}}),
    ],
)
def test_replaces_one_value(assignment: str, expected: dict[str, Any]) -> None:
    document = {"merge": {"ratio": 0.5}, "plan": "fast"}
    assert override(document, assignment) == expected
    assert document == {"merge": {"ratio": 0.5}, "plan": "fast"}


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("seed", ['--set: got "seed"', "path.to.key=value", "write for instance"]),
        ("=3", ['got "=3"', "write for instance merge.ratio=0.3"]),
        ("merge..ratio=3", ['got "merge..ratio=3"', "write for instance"]),
        ("seed=[1", ["--set seed: line 1"]),
        (
            "plan.merge.ratio=0.3",
            ['plan: got "fast"', "a mapping to set 'merge' in", "plan={merge: …}"],
        ),
    ],
)
def test_names_what_is_wrong(assignment: str, parts: list[str]) -> None:
    with pytest.raises(PlanError) as raised:
        override({"plan": "fast"}, assignment)
    for part in parts:
        assert part in str(raised.value)
