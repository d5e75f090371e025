"""Conditions: what image i is asked for, from rules, lists and files."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel import DitAccelError
from dit_accel.sampling.conditions.coco import coco_conditions, ids_digest
from dit_accel.sampling.conditions.labels import ClassNames, UniformLabels, label_conditions
from dit_accel.sampling.conditions.prompts import prompt_conditions

IMAGENET = ClassNames(1000, {})
NAMED = ClassNames(1000, {"cat": 0, "moon": 1, "rocket": 2})
AWKWARD = ["a cat", "", "a / b", 'say "moon", twice', "🚀\u2028月", "a cat", " x\ty ", "y" * 5000]


def labels(source: Any, classes: ClassNames = NAMED, seed: int = 0, n: int | None = 8) -> list[int]:
    return list(label_conditions(source, classes, seed, n).items)  # type: ignore[arg-type]


def prompts(source: Any, n: int | None = None) -> list[str]:
    return list(prompt_conditions(source, n).items)  # type: ignore[arg-type]


PUBLISHED = {
    0: [658, 494, 406, 81, 694, 101, 263, 841],
    7: [972, 936, 259, 832, 983, 444, 476, 870],
}


# Labels


def test_uniform_labels_are_uniform_and_independent() -> None:
    drawn = np.array(labels("uniform", IMAGENET, n=50_000))
    counts = np.bincount(drawn, minlength=1000)
    chi_squared = ((counts - 50) ** 2 / 50).sum()
    assert abs(chi_squared - 999) < 5 * (2 * 999) ** 0.5
    neighbours = np.corrcoef(drawn[:-1], drawn[1:])[0, 1]
    assert abs(neighbours) < 5 / 50_000**0.5


def test_uniform_labels_never_change() -> None:
    """The values of this version; another one would make other sets under the same config."""
    assert labels("uniform", IMAGENET, seed=0) == PUBLISHED[0]
    assert labels("uniform", IMAGENET, seed=7) == PUBLISHED[7]


def test_uniform_labels_depend_on_seed_and_place_alone() -> None:
    long, short = UniformLabels(range(10), 5, 1000), UniformLabels(range(10), 5, 10)
    assert long[:10] == list(short)
    assert long[:100] != UniformLabels(range(10), 6, 1000)[:100]


def test_rules_draw_from_the_classes_that_have_names() -> None:
    assert set(labels("uniform", n=100)) == {0, 1, 2}
    assert labels("balanced", n=7) == [0, 1, 2, 0, 1, 2, 0]
    assert labels("balanced", ClassNames(4, {}), n=5) == [0, 1, 2, 3, 0]


def test_lists_and_files_cycle(tmp_path: Path) -> None:
    assert labels(("cat", 2, "moon"), n=5) == [0, 2, 1, 0, 2]
    assert labels(("cat", 2, "moon"), n=None) == [0, 2, 1]
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffcat\r\n 2 \r\nmoon\r\n".encode())
    assert labels(str(path), n=4) == [0, 2, 1, 0]


def test_the_rule_has_one_identity_for_sets_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("cat\n2\n")
    for source in ("uniform", "balanced", ("cat", 2), str(path)):
        found = [label_conditions(source, NAMED, 0, n).identity for n in (3, 9)]
        assert found[0] == found[1]
    identities = [label_conditions(s, NAMED, 0, 9).identity for s in (("cat", 2), str(path))]
    assert identities[0] == identities[1]
    others = [label_conditions(s, NAMED, 0, 9).identity for s in ("uniform", "balanced", (2, 0))]
    assert all(other != identities[0] for other in others) and others[0] != others[1]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (("mon",), "data.labels: got \"mon\".*did you mean 'moon'"),
        ((3,), "from 0 to 2"),
        ((-1,), "from 0 to 2"),
        ((), "empty"),
        ("unifrom", "did you mean 'uniform'"),
        ("cat", r"a single class is a list too: \[cat\]"),
    ],
)
def test_labels_refused(source: Any, message: str) -> None:
    with pytest.raises(DitAccelError, match=message):
        labels(source)


def test_labels_need_a_number_of_images_or_a_list() -> None:
    with pytest.raises(DitAccelError, match="num_samples: missing"):
        labels("uniform", n=None)


def test_a_wrong_line_of_labels_is_numbered(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("cat\n2\nmon\n")
    with pytest.raises(DitAccelError, match=r"labels\.txt, line 3: got \"mon\""):
        labels(str(path))


# Prompts


def test_every_format_holds_every_prompt(tmp_path: Path) -> None:
    text, lines, table = (tmp_path / name for name in ("p.txt", "p.jsonl", "p.csv"))
    text.write_text("".join(f"{prompt}\n" for prompt in AWKWARD))
    lines.write_text(
        "".join(json.dumps({"id": i, "prompt": p}) + "\n\n" for i, p in enumerate(AWKWARD))
    )
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "prompt"], *enumerate([*AWKWARD, "two\nlines"])])
    assert prompts(str(text)) == AWKWARD
    assert prompts(str(lines)) == AWKWARD
    assert prompts(str(table)) == [*AWKWARD, "two\nlines"]
    assert prompts(tuple(AWKWARD)) == AWKWARD
    identities = [prompt_conditions(str(path), None).identity for path in (text, lines)]
    assert identities[0] == identities[1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=6))
def test_jsonl_and_csv_give_back_any_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("prompts")
    lines, table = folder / "p.jsonl", folder / "p.csv"
    lines.write_text("".join(json.dumps({"prompt": t}) + "\n" for t in texts), encoding="utf-8")
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([["prompt"], *([text] for text in texts)])
    assert prompts(str(lines)) == texts
    assert prompts(str(table)) == texts


def test_more_images_than_prompts_begin_again() -> None:
    assert prompts(("a", "b"), 5) == ["a", "b", "a", "b", "a"]
    assert prompts(("a", "b", "c"), 2) == ["a", "b"]


def test_a_file_without_a_final_line_end(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("a\n\nb")
    assert prompts(str(path)) == ["a", "", "b"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", b"", "empty"),
        ("p.txt", b"ok\n\xff\n", "line 2: this is not UTF-8"),
        ("p.jsonl", b'{"prompt": "a"}\n{"prompt": \n', "line 2: this is not JSON"),
        ("p.jsonl", b'{"prompt": "a"}\n["a"]\n', "line 2: got .*'prompt'"),
        ("p.jsonl", b'{"prompt": 3}\n', "line 1: got"),
        ("p.jsonl", b'{"prompt": "\\ud83d"}\n', "line 1: half of a surrogate"),
        ("p.csv", b"id,text\n1,a\n", "line 1: got .*column 'prompt'"),
        ("p.csv", b"id,prompt\n1,a\n2\n", "line 3: this row ends"),
        ("p.csv", b'prompt\n"a" b\n', "line 2: this is not CSV"),
        ("p.csv", b"", "line 1"),
        ("p.yaml", b"- a\n", "ending in .txt, .jsonl, .csv"),
    ],
)
def test_unreadable_prompts_are_numbered(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DitAccelError, match=message):
        prompts(str(path))


def test_missing_prompts() -> None:
    with pytest.raises(DitAccelError, match=r"cannot read .*nowhere\.txt"):
        prompts("nowhere.txt")
    with pytest.raises(DitAccelError, match="empty"):
        prompts(())


# COCO


@pytest.fixture
def captions(tmp_path: Path) -> str:
    """Images 1 to 6, three captions each, in an order of their own."""
    annotations = [
        {"id": 100 * copy + image, "image_id": image, "caption": f" caption {copy} of {image}\n"}
        for copy in (3, 1, 2)
        for image in (5, 1, 6, 2, 4, 3)
    ]
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"images": [], "annotations": annotations}))
    return str(path)


def test_the_rule_takes_the_first_caption_of_images_in_the_order_of_hashes(captions: str) -> None:
    order = sorted(range(1, 7), key=lambda image: hashlib.sha256(b"%d" % image).hexdigest())
    taken = coco_conditions(captions, None, None, None)
    assert list(taken.items) == [f"caption 1 of {image}" for image in order]
    part = coco_conditions(captions, None, None, 4)
    assert list(part.items) == list(taken.items[:4])
    assert part.identity == taken.identity


def test_a_list_of_ids_and_its_hash(captions: str, tmp_path: Path) -> None:
    plain, packed = tmp_path / "ids.txt", tmp_path / "ids.txt.gz"
    plain.write_text("203\n101\n306\n")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    digest = hashlib.sha256(plain.read_bytes()).hexdigest()
    for path in (plain, packed):
        taken = coco_conditions(captions, str(path), digest.upper(), 2)
        assert list(taken.items) == ["caption 2 of 3", "caption 1 of 1"]
        assert taken.identity["ids_sha256"] == digest
    with pytest.raises(DitAccelError, match=r"data.ids_sha256: got .*get the right files"):
        coco_conditions(captions, str(plain), "0" * 64, 2)


def test_the_hash_of_what_the_rule_chose_can_be_checked(captions: str) -> None:
    order = sorted(range(1, 7), key=lambda image: hashlib.sha256(b"%d" % image).hexdigest())
    digest = ids_digest([100 + image for image in order[:3]])
    assert len(coco_conditions(captions, None, digest, 3).items) == 3
    with pytest.raises(DitAccelError, match="ids_sha256"):
        coco_conditions(captions, None, digest, 4)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("101\nx\n", 'line 2: got "x"'),
        ("101\n\n102\n", "line 2"),
        ("101\n102\n101\n", "line 3: id 101 stands in line 1"),
        ("101\n999\n", r"data.ids: got \[999\]"),
        ("", "empty"),
    ],
)
def test_ids_refused(captions: str, tmp_path: Path, ids: str, message: str) -> None:
    path = tmp_path / "ids.txt"
    path.write_text(ids)
    with pytest.raises(DitAccelError, match=message):
        coco_conditions(captions, str(path), None, None)


def test_captions_are_not_used_twice(captions: str) -> None:
    with pytest.raises(DitAccelError, match="num_samples: got 7, expected at most 6"):
        coco_conditions(captions, None, None, 7)


@pytest.mark.parametrize(
    "content", ["{}", "[]", "x", '{"annotations": [{"id": 1}]}', '{"annotations": []}']
)
def test_other_files_are_no_captions(tmp_path: Path, content: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(content)
    with pytest.raises(DitAccelError, match=r"data\.coco: .*COCO caption file"):
        coco_conditions(str(path), None, None, None)


def test_a_caption_that_no_tokenizer_can_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    captions = [{"id": n, "image_id": n, "caption": text} for n, text in enumerate(["a", "\ud83d"])]
    path.write_text(json.dumps({"annotations": captions}))
    with pytest.raises(DitAccelError, match=r"data\.coco: caption 1 of .*surrogate pair"):
        coco_conditions(str(path), None, None, None)


def test_captions_or_ids_that_are_not_there(captions: str, tmp_path: Path) -> None:
    for arguments in [("nowhere.json", None), (captions, "nowhere.txt"), (captions, "no.txt.gz")]:
        with pytest.raises(DitAccelError, match=r"cannot read no"):
            coco_conditions(*arguments, None, None)
