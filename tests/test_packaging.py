"""The installed package finds its own data, and declares all that it imports."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import resources
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pytest
import yaml

import dit_accel
from dit_accel import reference_models
from dit_accel.resources import config_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
# Where the distribution's name is not the one that is imported.
DISTRIBUTIONS = {
    "cache_dit": "cache-dit",
    "PIL": "pillow",
    "click": "typer",  # what typer is made of
    "huggingface_hub": "huggingface-hub",
    "markupsafe": "jinja2",  # likewise
    "pydantic_core": "pydantic",  # a part of it, of the same release
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "tokenizers": "transformers",  # likewise
    "torch_fidelity": "torch-fidelity",
    "cleanfid": "clean-fid",
    "yaml": "pyyaml",
}
OURS = {"dit_accel", *(path.stem for path in ROOT.glob("tests/**/*.py"))}
EXTRAS = ("train", "datasets", "ray", "test")
TOML = {"tomllib", "tomli"}  # the standard library's, and what pytest itself needs before that


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def names_in(requirements: Iterable[str]) -> set[str]:
    """Lower-case distribution names of requirement lines."""
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in requirements}


def imported_names(source: Path) -> Iterator[str]:
    """Top-level names that a file imports, inside functions and under conditions too."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


def distributions_imported(sources: Iterable[Path]) -> set[str]:
    """Distributions, other than the standard library and ourselves, that the files import from."""
    names = {name for source in sources for name in imported_names(source)}
    foreign = names - sys.stdlib_module_names - OURS - TOML
    return {DISTRIBUTIONS.get(name, name) for name in foreign}


def test_everything_the_package_imports_is_declared(project: dict[str, Any]) -> None:
    core = names_in(project["dependencies"])
    extras = project["optional-dependencies"]
    train, data, ray, test = (names_in(extras[name]) for name in EXTRAS)
    sources = [*ROOT.glob("dit_accel/**/*.py"), *ROOT.glob("pipelines/**/*.py")]
    training = [source for source in sources if {"training", "adaptation"} & {*source.parts}]
    on_ray = [source for source in sources if source.name.startswith("ray_")]
    peers = [source for source in sources if "peers" in source.parts]  # found, not required
    assert distributions_imported(set(sources) - {*training, *on_ray, *peers}) <= core
    assert distributions_imported(on_ray) <= core | ray
    assert distributions_imported(training) <= core | train | data
    assert distributions_imported(peers) <= core | test


def test_everything_the_tests_and_scripts_import_is_declared(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(each for name in EXTRAS for each in extras[name])]
    declared = names_in(wanted)
    sources = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("scripts/**/*.py")]
    assert distributions_imported(sources) <= declared


def test_no_core_dependency_goes_unused(project: dict[str, Any]) -> None:
    sources = [*ROOT.glob("dit_accel/**/*.py"), *ROOT.glob("pipelines/**/*.py")]
    assert names_in(project["dependencies"]) <= distributions_imported(sources)


def test_version_is_the_declared_one(project: dict[str, Any]) -> None:
    assert version("dit-accel") == project["version"] == dit_accel.__version__


def test_command_is_installed() -> None:
    scripts = distribution("dit-accel").entry_points.select(group="console_scripts")
    assert callable(scripts["dit-accel"].load())


@pytest.mark.parametrize(
    "folder", ["plans", "plans/published", "models", "train", "adapt", "sample", "eval"]
)
def test_configs_are_found_by_import_and_by_path(folder: str) -> None:
    """Tools that know only the import name and our own lookup must see the same files."""
    imported = resources.files("dit_accel.configs") / folder
    names = {entry.name for entry in imported.iterdir() if entry.name.endswith((".yaml", ".json"))}
    assert names
    assert names == {path.name for path in config_folder(folder).glob("*.[yj]*")}


def test_every_config_parses() -> None:
    for path in config_folder().rglob("*.json"):
        assert json.loads(path.read_text()), path
    for path in config_folder().rglob("*.yaml"):
        assert yaml.safe_load(path.read_text()) is not None, path


def test_pipelines_are_importable_under_the_package() -> None:
    from dit_accel.pipelines import DiTPipeline, PixArtAlphaPipeline, PixArtSigmaPipeline

    for pipeline in (DiTPipeline, PixArtAlphaPipeline, PixArtSigmaPipeline):
        assert pipeline.__module__.startswith("dit_accel.pipelines.")


def test_type_hints_are_announced() -> None:
    assert (resources.files("dit_accel") / "py.typed").is_file()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("dit-photos", ["transformer", "vae"]),
        ("pixart-photos", ["transformer", "vae", "text_encoder"]),
    ],
)
def test_reference_pipeline_is_found_with_its_weights(name: str, parts: list[str]) -> None:
    folder = reference_models.find(name)
    index = json.loads((folder / "model_index.json").read_text())
    for part in parts:
        assert part in index
        assert list((folder / part).glob("*.safetensors"))


def test_what_scores_offline_is_found() -> None:
    folder = resources.files("dit_accel.reference_models") / "ref-features"
    assert (folder / "model.safetensors").is_file() and (folder / "photos-128.npz").is_file()


def test_templates_of_the_report_are_found() -> None:
    templates = resources.files("dit_accel.reporting.run_report") / "templates"
    assert {entry.name for entry in templates.iterdir()} >= {"page.html.j2", "page.css"}


def test_unknown_reference_pipeline_names_those_installed() -> None:
    with pytest.raises(FileNotFoundError, match=r"'dit-photo'.*installed there: .*dit-photos"):
        reference_models.find("dit-photo")
