"""The closed-form fit, against the minimum of its own objective found by stacking equations."""

from __future__ import annotations

import pytest
import torch

from dit_accel.nn.ridge import Ridge


def data(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    features *= torch.tensor([1.0, 100.0, 0.01, 1.0, 1.0])
    targets = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    return features, targets, torch.randn(5, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 10.0])
def test_it_is_the_minimum_of_the_stated_objective(ridge: float) -> None:
    features, targets, prior = data()
    equations = Ridge(5, 3)
    for rows in range(0, 40, 10):
        equations.update(features[rows : rows + 10], targets[rows : rows + 10])
    pull = (ridge * features.square().sum(0)).sqrt().diag()
    stacked = torch.cat([features, pull]), torch.cat([targets, pull @ prior])
    expected = torch.linalg.lstsq(*stacked).solution
    got = equations.fit(prior, ridge)
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)
    error = (targets - features @ got).norm() / targets.norm()
    assert equations.error(got) == pytest.approx(float(error))
    assert equations.error(got) <= equations.error(prior)


def test_what_the_data_do_not_tell_stays_as_it_was() -> None:
    features, targets, prior = data()
    features[:, 2] = 0.0
    equations = Ridge(5, 3)
    equations.update(features, targets)
    assert torch.equal(equations.fit(prior, 1e-2)[2], prior[2])
    torch.testing.assert_close(equations.fit(prior, 1e12), prior)


def test_infinities_and_no_ridge_are_refused() -> None:
    features, targets, prior = data()
    with pytest.raises(ValueError, match="NaN or Inf"):
        Ridge(5, 3).update(features / 0.0, targets)
    with pytest.raises(ValueError, match="above 0"):
        Ridge(5, 3).fit(prior, 0.0)
