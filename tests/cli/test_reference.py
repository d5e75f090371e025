"""``dit-accel reference``: a file that scores can be made with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scored_runs import TinyExtractor, pictures
from typer.testing import CliRunner, Result

from dit_accel.cli.app import app
from dit_accel.extractors import registry
from dit_accel.scoring.opening import open_source


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, **options: object) -> TinyExtractor:
        return TinyExtractor(name)

    monkeypatch.setattr(registry, "load_extractor", load)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["reference", *map(str, arguments)])


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    for number, pixels in enumerate(pictures(6, size=40)):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    done = invoke(tmp_path, "--output", tmp_path / "ref.npz", "--size", 16, "--num", 5)
    assert done.exit_code == 0, done.output
    assert "5 pictures" in done.output
    found = open_source(tmp_path / "ref.npz")
    assert (found.count, found.supplies("features", rows=True)) == (5, True)


def test_without_features(tmp_path: Path) -> None:
    np.savez(tmp_path / "real.npz", arr_0=pictures(6))
    done = invoke(tmp_path / "real.npz", "--output", tmp_path / "ref.npz", "--no-features")
    assert done.exit_code == 0, done.output
    assert not open_source(tmp_path / "ref.npz").supplies("features", rows=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["real.npz", "--output", "ref.txt"], "ending in .npz"),
        (["real.npz", "--output", "ref.npz", "--extractor", "reff"], "did you mean 'ref'"),
        (["real.npz", "--output", "ref.npz", "--size", "8"], "size: got 8"),
        (["nowhere", "--output", "ref.npz"], "check the path"),
        (["real.npz", "--output", "ref.npz", "--num", "99"], "at most 6"),
    ],
)
def test_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("real.npz", arr_0=pictures(6))
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert not Path("ref.npz").exists()
