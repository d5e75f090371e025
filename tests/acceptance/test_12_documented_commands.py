"""Acceptance test 12: every `dit-accel` line in the documentation is one that the command takes.

CI runs the quick starts for real; here all the others are parsed, so that no option can drift, and
the files that they name have to be there.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from typer.main import get_command

from dit_accel.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def documented(page: Path) -> list[str]:
    """Commands of a page's shell blocks, or of a config's comments, with continued lines joined."""
    text = page.read_text()
    if page.suffix == ".yaml":
        lines = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    else:
        blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
        lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("dit-accel ")]


COMMANDS = [(page, line) for page in (*PAGES, *CONFIGS) for line in documented(page)]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda value: str(value)[-60:])
def test_the_command_is_understood(page: Path, line: str) -> None:
    arguments = shlex.split(line, comments=True)[1:]
    group = get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    name, *rest = arguments
    if name == "COMMAND":
        return
    assert name in group.commands, f"{page.name}: {line}"
    context = group.commands[name].make_context(name, rest)
    for value in context.params.values():
        if isinstance(value, Path) and str(value).startswith("configs/"):
            assert (ROOT / value).is_file(), f"{page.name}: {line}"


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 10
    assert any("evaluate" in line for _, line in COMMANDS)
