"""YAML that is safe, refuses duplicate keys, and reads numbers as people write them."""

from pathlib import Path
from typing import Any

import pytest

from dit_accel.configuration.strict_yaml import parse_mapping, parse_yaml, read_mapping
from dit_accel.errors import PlanError


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E5", 1e5), ("-2.5e+3", -2500.0), (".5e1", 5.0), ("3", 3), ("0.5", 0.5)],
)
def test_numbers_are_numbers(text: str, value: float) -> None:
    read = parse_yaml(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["e5", "1e", "1e-3x"])
def test_words_stay_words(text: str) -> None:
    assert parse_yaml(text) == text


@pytest.mark.parametrize("text", ["", "# only a comment", "---\n"])
def test_an_empty_text_is_an_empty_mapping(text: str) -> None:
    assert parse_mapping(text) == {}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: 1\nb: 2\na: 3", ['f.yaml: line 3, column 1: duplicate key "a"', "keep one"]),
        ("a: {b: 1, b: 2}", ['line 1, column 11: duplicate key "b"', "keep one"]),
        ("[1, 2]", ["f.yaml: got [1, 2]", "a mapping", "write 'key: value' lines"]),
        ("fast", ['got "fast"', "a mapping"]),
        ("a: [1", ["f.yaml: line 1"]),
        ("a: \x00", ["this is not YAML"]),
        ("? [1, 2]\n: 3", ["unhashable key"]),
        ("a: !!python/object/apply:os.getcwd []", ["could not determine a constructor"]),
    ],
)
def test_names_what_is_wrong(text: str, parts: list[str]) -> None:
    with pytest.raises(PlanError) as raised:
        parse_mapping(text, "f.yaml")
    for part in parts:
        assert part in str(raised.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfa"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "plan.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlanError) as raised:
        read_mapping(path)
    for part in (str(path), "cannot read the file", "give the path of a readable YAML file"):
        assert part in str(raised.value)
