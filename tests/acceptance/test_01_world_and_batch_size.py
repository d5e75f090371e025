"""Acceptance 1: world 1, 2, 3 x batch 1, 3, 8: the same files, noise and images."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from itertools import product
from pathlib import Path

import pytest
import torch
from sampling_process import (
    assert_same_images,
    files_of,
    images_of,
    join,
    logs,
    prepared_set,
    recorded,
    running,
)

from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.ranks.worker import sample_set

NUM_SAMPLES = 11
Draws = dict[int, list[str]]


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> Draws:
    """Hashes of everything that is drawn at random, in order, by the generator's seed."""
    drawn: Draws = defaultdict(list)
    randn = torch.randn

    def spy(*arguments: object, **named: object) -> torch.Tensor:
        noise = randn(*arguments, **named)
        generator = named.get("generator")
        assert isinstance(generator, torch.Generator), "noise from the global generator"
        digest = hashlib.sha256(noise.numpy().tobytes()).hexdigest()
        drawn[generator.initial_seed()].append(digest)
        return noise

    monkeypatch.setattr(torch, "randn", spy)
    return drawn


def test_files_noise_and_images_do_not_depend_on_ranks_and_batches(
    tiny_pipeline: Path, tmp_path: Path, draws: Draws
) -> None:
    found = {}
    for world, batch in product((1, 2, 3), (1, 3, 8)):
        output = tmp_path / f"{world}-{batch}"
        # DDPM draws noise in every step, which stock DiTPipeline takes from the global generator.
        prepared = prepared_set(
            tiny_pipeline, output, batch_size=batch, shard_size=None, scheduler="DDPM"
        )
        draws.clear()
        for rank in range(world):
            sample_set(prepared, Shard(rank, world), steal=False, say=lambda text: None)
        found[world, batch] = (dict(draws), files_of(output), images_of(output))
    noise, files, images = found[1, 8]
    assert sorted(noise) == list(range(NUM_SAMPLES))
    assert all(len(drawn) > 1 for drawn in noise.values())
    assert files == [f"images/000000/{index:06d}.png" for index in range(NUM_SAMPLES)]
    for other_noise, other_files, other_images in found.values():
        assert other_noise == noise
        assert other_files == files
        assert_same_images(other_images, images)


@pytest.mark.parametrize("steal", [True, False])
def test_three_processes_at_once_make_the_set_of_one(
    tiny_pipeline: Path, tmp_path: Path, steal: bool
) -> None:
    alone = prepared_set(tiny_pipeline, tmp_path / "alone", batch_size=8)
    sample_set(alone, Shard(), say=lambda text: None)
    together = prepared_set(tiny_pipeline, tmp_path / "together", batch_size=2)
    with running(together, 3, range(3), steal=steal) as ranks:
        assert join(ranks) == [0, 0, 0], logs(together)
    assert files_of(tmp_path / "together") == files_of(tmp_path / "alone")
    assert_same_images(images_of(tmp_path / "together"), images_of(tmp_path / "alone"))
    assert len(recorded(tmp_path / "together")) == NUM_SAMPLES, "an image was made twice"
