"""Pictures from a folder or tar files: what they show, and the losses that need them."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dit_accel.adaptation.data_config import DatasetConfig, FolderConfig, WebDatasetConfig
from dit_accel.adaptation.noise_levels import NoiseLevels
from dit_accel.adaptation.pictures import read_pictures
from dit_accel.adapters import load_adapter
from dit_accel.errors import DitAccelError
from dit_accel.sampling.conditions.labels import ClassNames

CLASSES = ClassNames(3, {"cat": 0, "moon": 1, "rocket": 2})


def picture(value: int, size: tuple[int, int] = (40, 36)) -> Image.Image:
    noise = np.random.default_rng(value).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(8):
        path = tmp_path / "pictures" / ("moon" if index % 2 else "2") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(index).save(path)
        path.with_suffix(".txt").write_text(f"text {index}\n")
    return tmp_path / "pictures"


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for index in range(8):
            data = io.BytesIO()
            picture(index).save(data, "png")
            parts = {"png": data.getvalue(), "cls": str(index % 3).encode(), "txt": b"text"}
            for suffix, content in parts.items():
                member = tarfile.TarInfo(f"./part/{index:03d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def test_a_folder_has_classes_or_texts(folder):
    data = FolderConfig(folder=str(folder))
    assert [each.condition for each in read_pictures(data, CLASSES)] == [2] * 4 + [1] * 4
    texts = [each.condition for each in read_pictures(data, None)]
    assert texts == [f"text {index}" for index in (0, 2, 4, 6, 1, 3, 5, 7)]
    limited = FolderConfig(folder=str(folder), limit=3)
    assert len(read_pictures(limited, CLASSES)) == 3


def test_tar_files_hold_the_same_pixels(folder, shard):
    data = WebDatasetConfig(shards=(str(shard),))
    found = read_pictures(data, CLASSES)
    assert [each.condition for each in found] == [index % 3 for index in range(8)]
    assert {each.condition for each in read_pictures(data, None)} == {"text"}
    of_folder = read_pictures(FolderConfig(folder=str(folder)), CLASSES)
    assert torch.equal(found[2].pixels(32), of_folder[1].pixels(32))
    assert found[0].pixels(32).shape == (3, 32, 32)


def test_compressed_tar_files_are_refused(tmp_path, shard, monkeypatch):
    """Their pictures have no place in the file that could be gone to."""
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(gzip.compress(shard.read_bytes()))
    monkeypatch.chdir(tmp_path)  # long paths are shortened in errors
    with pytest.raises(DitAccelError, match=r"a.tar.gz\", expected an uncompressed tar.*gunzip"):
        read_pictures(WebDatasetConfig(shards=(packed.name,)), CLASSES)


def test_a_dataset_of_the_hub_is_asked_for_one_split(monkeypatch):
    asked = []
    rows = [{"image": picture(index), "label": index % 3} for index in range(4)]

    class Rows(list):
        def __getitem__(self, key):
            return [row[key] for row in rows] if isinstance(key, str) else rows[key]

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        return Rows()

    fake = SimpleNamespace(load_dataset=load_dataset, load_from_disk=None)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    data = DatasetConfig(name="owner/name", split="validation", condition="label")
    found = read_pictures(data, CLASSES)
    assert asked == [(("owner/name",), {"split": "validation"})]
    assert [each.condition for each in found] == [0, 1, 2, 0]


@pytest.mark.parametrize("splits", [False, True])
def test_a_dataset_on_disk_has_the_same_pixels(tmp_path, folder, splits):
    datasets = pytest.importorskip("datasets", reason="needs the extra datasets")
    columns = {"image": [picture(index) for index in range(4)], "label": [0, 1, 2, 1]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    rows = datasets.Dataset.from_dict(columns, features=features)
    whole = datasets.DatasetDict({"train": rows}) if splits else rows
    whole.save_to_disk(str(tmp_path / "rows"))
    data = DatasetConfig(name=str(tmp_path / "rows"), condition="label")
    found = read_pictures(data, CLASSES)
    assert [each.condition for each in found] == [0, 1, 2, 1]
    of_folder = read_pictures(FolderConfig(folder=str(folder)), CLASSES)
    assert torch.equal(found[2].pixels(32), of_folder[1].pixels(32))


def test_what_is_missing_is_named(tmp_path, folder):
    with pytest.raises(DitAccelError, match=r"data.folder: got .*a folder that exists"):
        read_pictures(FolderConfig(folder=str(tmp_path / "none")), CLASSES)
    (folder / "2" / "0.txt").unlink()
    with pytest.raises(DitAccelError, match=r"0.png has no text beside it; write 0.txt"):
        read_pictures(FolderConfig(folder=str(folder)), None)
    (folder / "moon").rename(folder / "mooon")
    with pytest.raises(DitAccelError, match="did you mean 'moon'"):
        read_pictures(FolderConfig(folder=str(folder)), CLASSES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DitAccelError, match="there is no picture"):
        read_pictures(FolderConfig(folder=str(tmp_path / "empty")), CLASSES)


def test_intervals_of_the_steps_are_the_whole_schedule():
    levels = NoiseLevels((999.0, 749.0, 499.0, 249.0), torch.linspace(1, 0, 1000), "epsilon")
    covered = [t for step in range(4) for t in range(*levels.interval(step))]
    ends = [levels.interval(step)[1] for step in range(4)]
    assert sorted(covered + ends) == list(range(1000))


def test_training_on_pictures_with_both_losses(open_session, folder):
    data = {"kind": "folder", "folder": str(folder), "batch_size": 3}
    objective = {"distillation": 1.0, "denoising": 0.5, "weighting": "min_snr"}
    session = open_session(data=data, objective=objective, held_out=2)
    batch, step = session.draws.training(0)
    first, last = session.draws.levels.interval(step)
    assert ((batch.timesteps >= first) & (batch.timesteps <= last)).all()
    # v = a noise - s clean, and x = a clean + s noise: a x - s v is the clean latents
    alphas = session.draws.levels.alphas_cumprod[batch.timesteps].view(-1, 1, 1, 1)
    clean = alphas.sqrt() * batch.states - (1 - alphas).sqrt() * batch.target
    stored = session.draws.source.arrays.read("latents", torch.arange(8))
    distance = (clean[:, None] - stored[None]).abs().flatten(2).amax(2).amin(1)
    assert distance.max() < 1e-4
    assert load_adapter(session.train()).record.steps == 6


def test_held_out_pictures_are_of_several_classes(open_session, folder):
    """They come class by class; `2` and `moon` are half of them each."""
    data = {"kind": "folder", "folder": str(folder), "batch_size": 3}
    session = open_session(data=data, held_out=4)
    assert len(session.draws.scoring(0).conditions.unique()) == 2
