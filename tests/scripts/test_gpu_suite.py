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
        "evaluate",
        "train",
    ]
    assert all(part.limit > 0 for part in suite.parts(tmp_path, "cpu", tiny=True, train=False))


def test_full_size_benches_the_real_architectures(suite: Any, tmp_path: Path) -> None:
    commands = [part.command for part in suite.parts(tmp_path, "cuda", tiny=False, train=False)]
    assert "DiT-XL-2-512" in commands[1] and "PixArt-Sigma-XL-2-1024" in commands[3]
    assert ["--compile" in command for command in commands[1:5]] == [False, True] * 2
    assert all("bfloat16" in command for command in commands[1:5])


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


def test_longer_recipe_is_a_valid_one(suite: Any, tmp_path: Path) -> None:
    from dit_accel.training.config import TrainConfig

    recipe = TrainConfig.model_validate(yaml.safe_load(suite._longer_recipe(tmp_path)))
    assert recipe.output == tmp_path / "train"


def test_the_evaluation_is_one_that_can_be_made(suite: Any, tmp_path: Path) -> None:
    from dit_accel.evaluation.config import load_evaluation

    for tiny in (True, False):
        [part] = [
            part
            for part in suite.parts(tmp_path, "cpu", tiny=tiny, train=False)
            if part.name == "evaluate"
        ]
        config = part.command[4]
        changes = [part.command[i + 1] for i, word in enumerate(part.command) if word == "--set"]
        evaluation, samples = load_evaluation(suite.ROOT / config, changes)
        assert samples[evaluation.baseline].num_samples == (2 if tiny else 10000)


@pytest.mark.slow
def test_a_tiny_bench_leaves_its_report(suite: Any, tmp_path: Path) -> None:
    part = suite.parts(tmp_path, "cpu", tiny=True, train=False)[3]
    assert suite.run_part(part, tmp_path)["outcome"] == "passed"
    report = json.loads((tmp_path / f"{part.name}-report.json").read_text())
    assert {row["label"] for row in report["rows"]} == {"dense", "quality", "balanced", "fast"}


def test_without_a_gpu_it_says_what_to_do(suite: Any, tmp_path: Path) -> None:
    import typer

    if suite.default_device().type == "cuda":
        pytest.skip("there is a GPU here")
    app = typer.Typer()
    app.command()(suite.main)
    result = CliRunner().invoke(app, ["--output", str(tmp_path)])
    assert result.exit_code == 2 and "--tiny" in result.output
