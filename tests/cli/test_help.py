"""``--help`` is complete: every command, every option, and a text for each."""

import re

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from dit_accel.cli import app

COMMANDS = {
    "generate": {"--set", "--plan", "--prompt"},
    "explain": {
        "--model",
        "--plan",
        "--steps",
        "--height",
        "--width",
        "--batch",
        "--text-tokens",
        "--guidance",
        "--no-guidance",
        "--json",
        "--png",
    },
    "bench": {
        "--model",
        "--plan",
        "--scheduler",
        "--steps",
        "--guidance-scale",
        "--num-images",
        "--batch-size",
        "--rounds",
        "--dtype",
        "--device",
        "--compile",
        "--seed",
        "--output",
        "--random-weights",
        "--record-presets",
    },
    "calibrate": {
        "--out",
        "--speedup",
        "--scheduler",
        "--steps",
        "--guidance",
        "--seeds",
        "--target",
        "--label",
        "--prompt",
        "--dtype",
        "--batch",
    },
    "train": {"--set", "--resume"},
    "plans": set(),
    "sample": {"--set", "--shard", "--steal", "--no-steal", "--quiet", "--executor"},
    "reference": {
        "--output",
        "--extractor",
        "--num",
        "--size",
        "--features",
        "--no-features",
        "--extractor-weights",
    },
    "score": {
        "--metrics",
        "--reference",
        "--baseline",
        "--extractor",
        "--extractor-weights",
        "--prompts",
        "--output",
        "--allow-partial",
        "--force",
        "--table",
        "--interval",
    },
    "report": {"--output"},
    "evaluate": {"--set", "--report", "--shard", "--quiet"},
    "frontier": {"--set", "--report", "--select"},
    "export": {"--allow-partial"},
}
RUNNER = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


def test_lists_every_command() -> None:
    output = RUNNER.invoke(app, ["--help"]).output
    assert all(name in output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option(name: str) -> None:
    result = RUNNER.invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert COMMANDS[name] <= set(re.findall(r"--[a-z][a-z-]*", result.output))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_known_here_and_explained(name: str) -> None:
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    options = {
        option for parameter in command.params for option in parameter.opts if "--" in option
    }
    negative = {option for parameter in command.params for option in parameter.secondary_opts}
    assert options | negative == COMMANDS[name]
    assert command.help
    assert all(parameter.help for parameter in command.params)


def test_no_arguments_show_the_help() -> None:
    assert "generate" in RUNNER.invoke(app, []).output
