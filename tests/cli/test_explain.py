"""``dit-accel explain``."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dit_accel.cli import app
from dit_accel.measure.architectures import load_architecture

RUNNER = CliRunner(env={"COLUMNS": "140", "NO_COLOR": "1"})


@pytest.mark.parametrize(
    ("arguments", "giga"),
    [
        (["--model", "DiT-XL-2-256"], 118.6),
        (["--model", "DiT-XL-2-512"], 524.5),
        (["--model", "PixArt-XL-2-512", "--height", "256", "--width", "256"], 148),
        (["--model", "PixArt-XL-2-512", "--text-tokens", "120"], 617),
        (["--model", "PixArt-XL-2-1024"], 3254),
    ],
)
def test_prints_the_published_macs(arguments: list[str], giga: float) -> None:
    result = RUNNER.invoke(app, ["explain", *arguments, "--steps", "2", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["macs_per_forward_dense"] == pytest.approx(giga * 1e9, rel=0.01)
    assert document["macs_run_dense"] == 2 * 2 * document["macs_per_forward_dense"]


def test_grid_and_picture(tiny_pipeline: Path, tmp_path: Path) -> None:
    plan = tmp_path / "mine.yaml"
    plan.write_text("cache: {policy: {kind: interval, interval: 2}}\n")
    picture = tmp_path / "grid.png"
    command = ["explain", "--model", str(tiny_pipeline), "--plan", str(plan), "--png", str(picture)]
    result = RUNNER.invoke(app, [*command, "--steps", "6", "--batch", "3", "--no-guidance"])
    assert result.exit_code == 0, result.output
    assert "8 × 8, 4 layers" in result.output and "no guidance" in result.output
    assert result.output.count("████") == 4 and "forecast" in result.output
    assert picture.is_file()


def test_texts_are_counted_at_the_length_that_pipelines_pad_them_to() -> None:
    arguments = ["explain", "--model", "pixart-photos", "--steps", "2"]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    tokens = load_architecture("pixart-photos").default_text_tokens
    assert f"{tokens} tokens a row" in result.output and "16 × 16, 10 layers" in result.output
    own = json.loads(RUNNER.invoke(app, [*arguments, "--json"]).stdout)
    more = json.loads(RUNNER.invoke(app, [*arguments, "--json", "--text-tokens", "99"]).stdout)
    assert (own["text_tokens"], more["text_tokens"]) == (tokens, 99)
    assert more["macs_run_dense"] > own["macs_run_dense"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "DiT-XL-2"], "did you mean"),
        (["--model", "DiT-XL-2-256", "--plan", "balanbed"], "did you mean 'balanced'"),
        (["--model", "DiT-XL-2-256", "--height", "250"], "use 256"),
        (["--model", "DiT-XL-2-256", "--height", "256", "--width", "512"], "square"),
        (["--model", "dit-photos", "--text-tokens", "9"], "text_tokens: got 9, expected none"),
    ],
)
def test_mistakes_are_one_message_without_a_traceback(arguments: list[str], message: str) -> None:
    result = RUNNER.invoke(app, ["explain", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr and "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
