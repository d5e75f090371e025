"""The GPU suite, tried on the CPU."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from dit_accel.reference_models import available

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_suite.py"


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    specification = importlib.util.spec_from_file_location("gpu_suite", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["gpu_suite"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def test_parts(suite: Any, tmp_path: Path) -> None:
    names = [part.name for part in suite.parts(tmp_path, "cpu", tiny=True, train=True)]
    assert names == [
        "tests",
        "bench-dit-xl-2-512-eager",
        "bench-dit-xl-2-512-compiled",
        "bench-pixart-sigma-1024-eager",
        "bench-pixart-sigma-1024-compiled",
        "bench-dit-photos",
        "bench-pixart-photos",
        "evaluate-dit-photos",
        "evaluate-pixart-photos",
        "bench-density-eager",
        "bench-density-compiled",
        "train-dit-photos",
        "train-pixart-photos",
        "adapt-dit-photos",
    ]
    assert all(part.limit > 0 for part in suite.parts(tmp_path, "cpu", tiny=True, train=False))


def test_full_size_benches_the_real_architectures(suite: Any, tmp_path: Path) -> None:
    commands = [part.command for part in suite.parts(tmp_path, "cuda", tiny=False, train=False)]
    assert "DiT-XL-2-512" in commands[1] and "PixArt-Sigma-XL-2-1024" in commands[3]
    assert ["--compile" in command for command in commands[1:5]] == [False, True] * 2
    assert all("--random-weights" in command for command in commands[1:5])
    assert all("bfloat16" in command for command in commands[1:7])


def test_the_shipped_pipelines_are_benched_with_their_weights(suite: Any, tmp_path: Path) -> None:
    commands = [part.command for part in suite.parts(tmp_path, "cuda", tiny=False, train=False)]
    for name, command in zip(available(), commands[5:7], strict=True):
        assert command[command.index("--model") + 1] == name
        evaluation = suite.ROOT / "configs" / "eval" / f"{name.replace('-', '_')}.yaml"
        guidance = command[command.index("--guidance-scale") + 1]
        assert float(guidance) == yaml.safe_load(evaluation.read_text())["guidance_scale"]
        assert not {"--random-weights", "--plan"} & set(command)  # pictures, and every preset


def run(suite: Any, output: Path, code: str, limit: int = 60) -> dict[str, Any]:
    part = suite.Part("part", [sys.executable, "-c", code], limit)
    result: dict[str, Any] = suite.run_part(part, output)
    return result


def test_a_finished_part_is_not_run_again(suite: Any, tmp_path: Path) -> None:
    counter = tmp_path / "runs"
    code = f"open({str(counter)!r}, 'a').write('x')"
    assert run(suite, tmp_path, code)["outcome"] == "passed"
    assert run(suite, tmp_path, code)["outcome"] == "passed before"
    assert counter.read_text() == "x"


def test_a_failed_part_is_run_again(suite: Any, tmp_path: Path) -> None:
    assert run(suite, tmp_path, "print('why'); raise SystemExit(3)")["outcome"] == "failed with 3"
    assert "why" in (tmp_path / "part.log").read_text()
    assert run(suite, tmp_path, "pass")["outcome"] == "passed"


def test_a_part_that_takes_too_long_is_stopped(suite: Any, tmp_path: Path) -> None:
    assert run(suite, tmp_path, "import time; time.sleep(60)", 1)["outcome"] == "stopped after 1 s"


def test_longer_recipes_are_valid_and_share_no_folder(suite: Any, tmp_path: Path) -> None:
    from dit_accel.training.config import ClassRecipe, TextRecipe

    recipes = [
        kind.model_validate(yaml.safe_load(suite._longer_recipe(tmp_path, name)))
        for kind, name in ((ClassRecipe, "dit-photos"), (TextRecipe, "pixart-photos"))
    ]
    assert [recipe.transformer.loop.steps for recipe in recipes] == [8 * 1350, 8 * 2000]
    folders = {folder for recipe in recipes for folder in (recipe.output, recipe.publish.folder)}
    assert len(folders) == 4 and all(folder.parent == tmp_path for folder in folders)


def test_the_longer_adaptation_is_one_that_can_begin(suite: Any, tmp_path: Path) -> None:
    from dit_accel.adaptation.config import load_config
    from dit_accel.adaptation.prepare import prepare

    [part] = [
        part
        for part in suite.parts(tmp_path, "cuda", tiny=False, train=True)
        if part.name == "adapt-dit-photos"
    ]
    config = load_config(part.command[-2])
    assert (config.loop.steps, config.batch_size) == (8 * 2200, 128)
    assert config.folder.parent == tmp_path
    assert len(prepare(config).steps) == 7, "those that are not dense"


def test_the_evaluations_are_ones_that_can_be_made(suite: Any, tmp_path: Path) -> None:
    from dit_accel.evaluation.config import load_evaluation

    for tiny in (True, False):
        suite_parts = suite.parts(tmp_path, "cpu", tiny=tiny, train=False)
        evaluations = [part for part in suite_parts if part.name.startswith("evaluate-")]
        for name, part in zip(available(), evaluations, strict=True):
            words = part.command
            changes = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
            evaluation, samples = load_evaluation(suite.ROOT / words[4], changes)
            sampled = samples[evaluation.baseline]
            assert (sampled.model, sampled.num_samples) == (name, 2 if tiny else 10000)
            assert Path(sampled.output).parent == tmp_path / f"evaluation-{name}"


@pytest.mark.slow
def test_a_tiny_bench_leaves_its_report(suite: Any, tmp_path: Path) -> None:
    part = suite.parts(tmp_path, "cpu", tiny=True, train=False)[3]
    assert suite.run_part(part, tmp_path)["outcome"] == "passed"
    report = json.loads((tmp_path / f"{part.name}-report.json").read_text())
    assert {row["label"] for row in report["rows"]} == {"dense", "quality", "balanced", "fast"}


def test_a_tiny_bench_of_density_leaves_its_report(suite: Any, tmp_path: Path) -> None:
    """An architecture's config alone, random weights, and its layout by its depth."""
    [part] = [
        part
        for part in suite.parts(tmp_path, "cpu", tiny=True, train=False)
        if part.name == "bench-density-eager"
    ]
    assert suite.run_part(part, tmp_path)["outcome"] == "passed"
    report = json.loads((tmp_path / f"{part.name}-report.json").read_text())
    rows = {Path(row["label"]).stem: row for row in report["rows"]}
    assert rows.keys() == {"dense", "exact", "density-delta", "density-paper"}
    assert all(rows[f"density-{form}"]["mac_speed_up"] > 1.05 for form in ("delta", "paper"))


def test_without_a_gpu_it_says_what_to_do(suite: Any, tmp_path: Path) -> None:
    import typer

    if suite.default_device().type == "cuda":
        pytest.skip("there is a GPU here")
    app = typer.Typer()
    app.command()(suite.main)
    result = CliRunner().invoke(app, ["--output", str(tmp_path)])
    assert result.exit_code == 2 and "--tiny" in result.output
