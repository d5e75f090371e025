"""Random Inception weights of a real network's scale: the published ones need a network."""

from __future__ import annotations

import pytest
import torch

from dit_accel.extractors.inception import FIDInception


@pytest.fixture(scope="module")
def random_inception() -> FIDInception:
    """He-scaled convolutions and untidy batch norms, so that no layer is without effect."""
    generator = torch.Generator().manual_seed(7)
    network = FIDInception().eval().requires_grad_(False)
    for name, value in network.state_dict().items():
        if name.endswith(("running_var", "bn.weight")):
            value.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith(("running_mean", "bn.bias", "fc.bias")):
            value.normal_(0, 0.1, generator=generator)
        elif value.ndim > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
    return network
