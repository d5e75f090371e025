"""The shipped prompts: what the script makes, found by name from anywhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from dit_accel.errors import DitAccelError
from dit_accel.resources import config_folder
from dit_accel.sampling.conditions.prompts import prompt_conditions, shipped_prompts
from dit_accel.training.captions import read_caption
from dit_accel.training.reference_crops import reference_source
from dit_accel.training.text_conditioning import description_of

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_prompts.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_prompts", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shipped list, from a folder that has nothing of it."""
    monkeypatch.chdir(tmp_path)
    return [str(item) for item in prompt_conditions("photos", None).items]


def test_the_shipped_file_is_what_the_script_makes(script: ModuleType, tmp_path: Path) -> None:
    script.main(tmp_path / "photos.txt")
    made = (tmp_path / "photos.txt").read_bytes()
    assert made == (config_folder("prompts") / "photos.txt").read_bytes()


def test_they_say_all_of_crops_that_the_reference_has_not(texts: list[str]) -> None:
    source = reference_source()
    assert len(texts) == 1024
    for index, text in enumerate(texts):
        assert read_caption(text) == description_of(source, 4096 + index)


def test_a_longer_set_begins_again() -> None:
    items = prompt_conditions("photos", 1030).items
    assert len(items) == 1030 and items[1024] == items[0]


def test_an_unknown_list_is_refused_with_the_nearest_name() -> None:
    assert list(shipped_prompts()) == ["photos"]
    with pytest.raises(DitAccelError, match=r"shipped list photos.*did you mean 'photos'"):
        prompt_conditions("photo", None)
