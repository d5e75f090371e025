"""The Inception graph is torch-fidelity's on the same weights, and its outputs are ADM's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dit_accel.errors import DitAccelError
from dit_accel.extractors import Extractor, extract
from dit_accel.extractors import inception_extractors as loaders
from dit_accel.extractors.inception import FIDInception, average_pool
from dit_accel.extractors.inception_extractors import InceptionExtractor
from dit_accel.extractors.resize import clean_resize, tf_resize
from dit_accel.extractors.weights import WeightsError, WeightsFile, sha256_of


def images(count: int, size: int = 64) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


def with_tf_resize(network: FIDInception) -> InceptionExtractor:
    return InceptionExtractor("inception-tf", "test", tf_resize, network)


def torch_fidelitys(network: FIDInception, tmp_path: Path) -> Any:
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    return module.FeatureExtractorInceptionV3(
        "inception-v3-compat",
        ["2048", "logits_unbiased"],
        feature_extractor_weights_path=str(tmp_path / "weights.pth"),
    )


def test_on_the_same_weights_it_is_torch_fidelitys_network(
    random_inception: FIDInception, tmp_path: Path
) -> None:
    """Their whole preprocessing included; `load_state_dict` there shows that the keys are equal."""
    theirs = torch_fidelitys(random_inception, tmp_path)
    first_branch: list[Tensor] = []
    theirs.Mixed_6d.branch1x1.register_forward_hook(lambda *call: first_branch.append(call[2]))
    batch = images(2)
    features, logits = theirs(batch)
    ours = with_tf_resize(random_inception)(batch)
    torch.testing.assert_close(ours["features"], features, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours["logits"], logits, rtol=1e-5, atol=1e-5)
    # ADM: sess.run("mixed_6/conv:0") is [B, 17, 17, 192]; [..., :7], reshaped to a row each.
    adm = first_branch[0].permute(0, 2, 3, 1)[..., :7].reshape(2, -1)
    torch.testing.assert_close(ours["spatial"], adm, rtol=1e-5, atol=1e-5)
    assert {name: tuple(value.shape) for name, value in ours.items()} == {
        "features": (2, 2048),
        "logits": (2, 1008),
        "spatial": (2, 17 * 17 * 7),
    }


def test_how_pictures_fall_into_batches_does_not_matter(random_inception: FIDInception) -> None:
    extractor, batch = with_tf_resize(random_inception), images(7, 40)
    together, alone = extract(extractor, [batch]), extract(extractor, batch.split(1))
    for name, values in together.items():
        distance = np.linalg.norm(alone[name] - values, axis=1)
        assert (distance <= 1e-5 * np.linalg.norm(values, axis=1)).all()


def test_the_mean_of_an_average_pool_leaves_the_padding_out() -> None:
    assert torch.equal(average_pool(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


def test_every_batch_norm_has_the_graphs_epsilon(random_inception: FIDInception) -> None:
    norms = [m for m in random_inception.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 94
    assert {norm.eps for norm in norms} == {1e-3}


def test_both_extractors_load_the_published_file(
    random_inception: FIDInception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = tmp_path / loaders.INCEPTION_WEIGHTS.name
    torch.save(random_inception.state_dict(), published)
    file = WeightsFile(published.name, sha256_of(published), "https://nowhere.invalid/")
    monkeypatch.setattr(loaders, "INCEPTION_WEIGHTS", file)
    batch = images(1)
    for load, resizer in (
        (loaders.load_inception_tf, tf_resize),
        (loaders.load_inception_clean, clean_resize),
    ):
        extractor = load(tmp_path)
        assert isinstance(extractor, Extractor)
        expected = random_inception(resizer(batch, 299))
        torch.testing.assert_close(extractor(batch)["features"], expected.features)


def test_other_weights_are_refused_under_this_name(
    random_inception: FIDInception, tmp_path: Path
) -> None:
    path = tmp_path / "mine.pth"
    torch.save(random_inception.state_dict(), path)
    with pytest.raises(WeightsError, match=r"mine\.pth: SHA-256 got .*expected 6726825d0af5"):
        loaders.load_inception_tf(path)


@pytest.mark.parametrize(
    "wrong",
    [torch.rand(1, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8), images(1)[:, :1]],
    ids=["float", "no batch", "grey"],
)
def test_what_is_no_batch_of_pictures_is_refused(
    wrong: Tensor, random_inception: FIDInception
) -> None:
    with pytest.raises(DitAccelError, match=r"images: got .*expected uint8 \[B, 3, H, W\]"):
        with_tf_resize(random_inception)(wrong)
