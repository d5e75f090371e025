"""Each site, predictor and policy against each thing that might leak from one run into another.

By default every scenario meets every site, every predictor and every policy; `-m slow` has the full
product of all combinations and all scenarios, on both orders of guidance rows.
"""

from __future__ import annotations

import pytest
from combinations import Combination, all_combinations, enough_combinations
from leaks import SCENARIOS, Subject
from tiny_models import FAMILIES

from dit_accel.methods.caching.cache import AXES
from dit_accel.methods.registry import kinds


def families_of(combination: Combination) -> list[str]:
    """A family of each order of guidance rows, as far as it has the site."""
    return ["alpha"] if combination.site == "cross_attention" else ["dit", "alpha"]


PAIRWISE = [
    pytest.param(
        scenario,
        combination,
        families_of(combination)[-(turn % 2)],
        id=f"{scenario}-{combination}",
    )
    for turn, scenario in enumerate(SCENARIOS)
    for combination in enough_combinations(seed=37 * turn)
]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_method_meets_every_scenario(scenario: str, axis: str) -> None:
    met = {getattr(param.values[1], axis) for param in PAIRWISE if param.values[0] == scenario}
    assert met == set(kinds(axis))


@pytest.mark.parametrize(("scenario", "combination", "name"), PAIRWISE)
def test_a_run_leaves_no_trace_in_another(
    scenario: str, combination: Combination, name: str
) -> None:
    SCENARIOS[scenario](Subject(FAMILIES[name], combination.plan))


PRODUCT = [
    pytest.param(combination, name, id=f"{combination}-{name}")
    for combination in all_combinations()
    for name in families_of(combination)
]


@pytest.mark.slow
@pytest.mark.parametrize(("combination", "name"), PRODUCT)
def test_the_full_product_leaves_no_trace(combination: Combination, name: str) -> None:
    subject, failed = Subject(FAMILIES[name], combination.plan), []
    for scenario, run in SCENARIOS.items():
        try:
            run(subject)
        except AssertionError as error:
            failed.append(f"{scenario}: {error}")
    assert not failed
