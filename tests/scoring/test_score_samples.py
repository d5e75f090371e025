"""Scores straight from the sampler are those of the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved_pipelines import save_tiny_dit
from scored_runs import TinyExtractor, pictures

from dit_accel.errors import DitAccelError
from dit_accel.metrics.feature_statistics import FeatureStatistics
from dit_accel.sampling.generate import Sample, generate, ready_pipeline
from dit_accel.sampling.preparing import PreparedSampling, prepare_sampling
from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.ranks.worker import sample_set
from dit_accel.sampling.sample_config import SampleConfig
from dit_accel.scoring.features import look
from dit_accel.scoring.score import score, score_samples

COUNT = 6


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedSampling:
    folder = tmp_path_factory.mktemp("sampled")
    config = SampleConfig(
        model=str(save_tiny_dit(folder / "model")),
        num_inference_steps=2,
        guidance_scale=1.5,
        num_samples=COUNT,
        batch_size=2,
        data={"labels": "balanced"},
        output=str(folder / "run"),
    )
    return prepare_sampling(config)


def samples(prepared: PreparedSampling) -> Iterator[Sample]:
    config = prepared.config
    pipe = ready_pipeline(prepared, "cpu")
    return generate(
        pipe,
        prepared.specs,
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
        batch_size=config.batch_size,
    )


def test_samples_score_as_their_files_do(prepared: PreparedSampling, tmp_path: Path) -> None:
    np.savez(tmp_path / "real.npz", arr_0=pictures(20, seed=4))
    names = ["fd_ref", "kid_ref", "prdc_ref"]
    options: dict[str, Any] = {
        "reference": tmp_path / "real.npz",
        "extractors": {"ref": TinyExtractor()},
    }
    streamed = score_samples(samples(prepared), names, **options)
    sample_set(prepared, Shard(0, 1, 0))
    filed = score(prepared.config.output, names, **options)
    for one, other in zip(streamed, filed, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-6)
        assert (one.metric, one.n, one.interval) == (other.metric, COUNT, other.interval)
        assert one.images["fingerprint"] == other.images["fingerprint"]


def test_statistics_need_no_files_and_no_rows(prepared: PreparedSampling) -> None:
    extractor = TinyExtractor()
    running = FeatureStatistics(extractor.dim)
    images = [sample.image for sample in samples(prepared)]
    for [outputs] in look(iter(images), [extractor], 2):
        running.update(outputs["features"])
    rows = next(look(images, [extractor], COUNT))[0]["features"]
    assert running.n == COUNT
    np.testing.assert_allclose(running.mean, rows.mean(0), rtol=1e-5)


def test_what_cannot_be_scored_is_refused_before_the_first_sample() -> None:
    def unreached() -> Iterator[Sample]:
        raise AssertionError("a sample was made")
        yield

    with pytest.raises(DitAccelError, match="reference: missing"):
        score_samples(unreached(), ["fd_ref"])
    with pytest.raises(DitAccelError, match=r"psnr.*run folder"):
        score_samples(unreached(), ["psnr"], baseline="anything")


def test_no_sample_at_all_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "real.npz", arr_0=pictures(20))
    with pytest.raises(DitAccelError, match="samples: got none"):
        score_samples(
            [], ["fd_ref"], reference=tmp_path / "real.npz", extractors={"ref": TinyExtractor()}
        )
