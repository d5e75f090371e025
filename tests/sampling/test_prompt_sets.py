"""Sets made from awkward lists of prompts, by the shipped model and by a tiny one."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sampling_process import assert_same_images, files_of, images_of, prepared_set, recorded
from saved_text_pipelines import save_tiny_pixart

from dit_accel.runs import RunFolder, read_manifest
from dit_accel.runs.adm import export_adm
from dit_accel.sampling.preparing import PreparedSampling
from dit_accel.sampling.ranks import worker
from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.ranks.worker import sample_set

PROMPTS = [
    "a cat",
    "",
    "../a/b\\dog",
    'a "cat" \'s {prompt} %s',
    "a 🚀 on the 月",
    "a cat",
    "a cat on a moon " * 40,
]


@pytest.fixture(scope="module", params=["pixart-photos", "tiny"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "tiny":
        return save_tiny_pixart(tmp_path_factory.mktemp("tiny_pixart"))
    return Path(request.param)


def prepared(model: Path, output: Path, prompts: Any = PROMPTS, **changes: Any) -> PreparedSampling:
    settings = {"num_inference_steps": 2, "num_samples": None, "height": 32, "width": 32}
    data = {"prompts": prompts if isinstance(prompts, list) else str(prompts)}
    return prepared_set(model, output, **{**settings, "data": data, **changes})


@pytest.fixture(scope="module")
def made(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A set by one rank, and what it said."""
    output, said = tmp_path_factory.mktemp("set") / "run", []
    sample_set(prepared(model, output), Shard(), say=said.append)
    return output, said


def test_files_are_named_by_index_and_remember_their_prompts(made: tuple[Path, Any]) -> None:
    output, _ = made
    assert [Path(name).stem.lstrip("0") or "0" for name in files_of(output)] == [*"0123456"]
    assert {path.name for path in output.parent.iterdir()} == {"run"}
    records = read_manifest(RunFolder.read(output))
    assert [records[index].prompt for index in range(7)] == PROMPTS
    assert {image.shape for image in images_of(output).values()} == {(32, 32, 3)}


def test_what_is_lost_of_prompts_is_said_once(made: tuple[Path, list[str]]) -> None:
    _, said = made
    unknown, cut = (line for line in said if "tokenizer" in line or "tokens" in line)
    assert "prompt 3: " in unknown and r"'b', '\\'" in unknown and "prompt 5: '🚀'" in unknown
    assert cut.startswith("prompts are cut after") and "prompt 7 (" in cut


def test_two_ranks_and_a_resume_make_the_same_set(
    model: Path, made: tuple[Path, Any], tmp_path: Path
) -> None:
    output, silent, said = tmp_path / "run", [], []
    again = prepared(model, output, batch_size=1)
    sample_set(again, Shard(1, 2), steal=False, say=silent.append)
    assert 0 < len(recorded(output)) < len(PROMPTS)
    sample_set(again, Shard(0, 2), say=said.append)
    assert_same_images(images_of(output), images_of(made[0]))
    assert not any("tokenizer" in line or "tokens" in line for line in silent)
    assert sum("tokenizer" in line or "tokens" in line for line in said) == 2
    assert len(recorded(output)) == len(PROMPTS)


def test_a_complete_set_asks_for_no_tokenizer(
    model: Path, made: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "prompt_warnings", None)
    progress = sample_set(prepared(model, made[0]), Shard(), say=lambda line: None)
    assert progress.is_complete and progress.made == 0


def test_sets_from_prompts_are_exported(made: tuple[Path, Any], tmp_path: Path) -> None:
    assert export_adm(RunFolder.read(made[0]), tmp_path / "set.npz", allow_partial=False) == 7
    with np.load(tmp_path / "set.npz") as arrays:
        images = images_of(made[0])
        assert (arrays["arr_0"] == np.stack([images[index] for index in range(7)])).all()


def test_every_format_makes_the_same_set(model: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("".join(f"{prompt}\n" for prompt in PROMPTS))
    lines = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS)
    (tmp_path / "p.jsonl").write_text(lines)
    with (tmp_path / "p.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["prompt"], *([prompt] for prompt in PROMPTS)])
    listed = prepared(model, tmp_path / "run")
    for name in ("p.txt", "p.jsonl", "p.csv"):
        found = prepared(model, tmp_path / "run", tmp_path / name)
        assert list(found.prompts) == PROMPTS and found.identity == listed.identity


def test_the_length_of_texts_is_part_of_the_identity(model: Path, tmp_path: Path) -> None:
    expected = 24 if model.name == "pixart-photos" else 120
    assert prepared(model, tmp_path).identity["text_tokens"] == expected
