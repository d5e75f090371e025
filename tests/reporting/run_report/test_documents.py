"""The page and the Markdown as documents, without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_runs import NASTY, RunSpec, write_run
from typer.testing import CliRunner

from dit_accel.cli import app

_VOID = {"meta", "link", "img", "br"}


class Parsed(HTMLParser):
    """Checks that elements nest, and keeps attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_page_is_well_formed_and_asks_for_nothing(written: Path) -> None:
    path = written / "report.html"
    page = Parsed(path.read_text(encoding="utf-8"))
    fetched = [
        value
        for tag, name, value in page.attributes
        if name in ("src", "href", "srcset", "action", "xlink:href")
    ]
    assert all(value.startswith("data:") for value in fetched)
    assert "url(" not in path.read_text() and "@import" not in path.read_text()
    assert not [tag for tag, _, _ in page.attributes if tag in ("script", "iframe", "object")]
    assert path.stat().st_size < 6_000_000


def test_every_picture_has_words(written: Path) -> None:
    page = Parsed((written / "report.html").read_text(encoding="utf-8"))
    pictures = sum(tag == "img" and name == "src" for tag, name, _ in page.attributes)
    alternatives = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(alternatives) == pictures > 0 and all(alternatives)
    drawings = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "role")]
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(drawings) == len(labels) > 0 and all(labels)


def test_hostile_text_is_text(untidy_written: Path) -> None:
    source = (untidy_written / "report.html").read_text(encoding="utf-8")
    assert "<script" not in source and "<b>" not in source
    assert any(NASTY in text for text in Parsed(source).words)
    markdown = (untidy_written / "report.md").read_text(encoding="utf-8")
    outside_code = re.sub(r"`[^`\n]*`", "", markdown.replace(r"\`", ""))
    assert not re.search(r"(?<!\\)<(script|b)", outside_code)


def test_markdown_tables_have_as_many_cells_in_every_row(written: Path) -> None:
    lines = (written / "report.md").read_text(encoding="utf-8").splitlines()
    counts: list[int] = []
    tables = 0
    for line in [*lines, ""]:
        if line.startswith("|"):
            counts.append(len(re.findall(r"(?<!\\)\|", line)))
            continue
        if counts:
            tables += 1
            assert len(set(counts)) == 1 and len(counts) >= 3
        counts = []
    assert tables >= 4


def test_markdown_shows_pictures_that_are_there(written: Path) -> None:
    names = re.findall(r"\]\((\S+?)\)", (written / "report.md").read_text(encoding="utf-8"))
    assert "report_seeds.webp" in names
    for name in names:
        assert (written / name).stat().st_size > 0
        if name.endswith(".svg"):
            assert ElementTree.parse(written / name).getroot().tag.endswith("svg")


def test_what_is_missing_is_on_the_page(untidy_written: Path) -> None:
    for name in ("report.html", "report.md"):
        text = (untidy_written / name).read_text(encoding="utf-8")
        assert "What is missing" in text and "7 of 12 images" in text
        assert "dit-accel score" in text and "not comparable" in text


def test_command_reports_a_single_bare_run_into_its_folder(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "my run", RunSpec(steps=2))
    result = CliRunner().invoke(app, ["report", str(folder.path)])
    assert result.exit_code == 0, result.output
    assert str(folder.path / "report.html") in result.output.replace("\n", "")
    assert "no latency measured" in (folder.path / "report.md").read_text()


def test_command_refuses_in_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(tmp_path / "none"), "--output", str(tmp_path)])
    assert result.exit_code == 2 and "no run folder" in result.output
    assert not list(tmp_path.iterdir())


@pytest.fixture
def untidy_written(untidy_report: object, tmp_path: Path) -> Path:
    from dit_accel.reporting.run_report.write import write_report

    write_report(untidy_report, tmp_path)  # type: ignore[arg-type]
    return tmp_path
