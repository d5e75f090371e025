"""The metric `prompt_accuracy`: real crops and their captions, judged by the shipped heads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from scored_runs import TinyExtractor, pictures, write_run

from dit_accel.errors import DitAccelError
from dit_accel.extractors.ref import RefExtractor, load_ref
from dit_accel.scoring import scorer
from dit_accel.scoring.records import ScoreRecord
from dit_accel.scoring.score import score
from dit_accel.training.captions import (
    PHOTOGRAPHS,
    Description,
    caption,
    describe,
    nearness_of,
    part_of,
)
from dit_accel.training.ref_bank import layout_of
from dit_accel.training.reference_crops import photo_crops, reference_source

COUNT = 30
METRICS = ("prompt_photograph", "prompt_part", "prompt_nearness", "prompt_mirrored")


class CountingRef(RefExtractor):
    """The shipped extractor, which counts the pictures that it looks at."""

    seen = 0

    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen += len(images)
        return super().__call__(images)


@pytest.fixture(scope="module")
def ref() -> CountingRef:
    shipped = load_ref()
    return CountingRef(shipped.network, shipped.weights_sha256)


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return torch.cat(list(photo_crops(COUNT, 128))).permute(0, 2, 3, 1).numpy()


@pytest.fixture(scope="module")
def descriptions() -> list[Description]:
    source = reference_source()
    found = [source.crop(index) for index in range(COUNT)]
    sizes = [photo.size for photo in source.photos]
    return [
        describe(crop.photo, layout_of(crop, sizes[crop.photo]), crop.mirrored) for crop in found
    ]


def captions(descriptions: list[Description]) -> Callable[[int], str]:
    rng = np.random.default_rng(0)
    texts = [caption(description, rng) for description in descriptions]
    return texts.__getitem__


def scored(path: Path, ref: RefExtractor, *names: str, **options: Path) -> dict[str, ScoreRecord]:
    metrics = names or ("prompt_accuracy",)
    records = score(path, metrics, extractors={"ref": ref}, **options)
    return {record.metric: record for record in records}


def test_shares_are_those_of_the_heads_counted_by_hand(
    crops: np.ndarray, descriptions: list[Description], ref: CountingRef, tmp_path: Path
) -> None:
    write_run(tmp_path, crops, prompt=captions(descriptions))
    found = scored(tmp_path, ref)
    assert tuple(found) == METRICS
    heads = ref.heads(ref(torch.tensor(crops).permute(0, 3, 1, 2))["features"])
    hits = dict.fromkeys(METRICS, 0)
    for index, asked in enumerate(descriptions):
        x, y = heads["centre"][index].tolist()
        side = float(heads["side"][index])
        hits["prompt_photograph"] += PHOTOGRAPHS[heads["photograph"][index].argmax()] == (
            asked.photograph
        )
        hits["prompt_part"] += part_of(x, y, side) is asked.part
        hits["prompt_nearness"] += nearness_of(side) is asked.nearness
        hits["prompt_mirrored"] += bool(heads["mirrored"][index] > 0) == asked.mirrored
    assert {name: record.value for name, record in found.items()} == {
        name: count / COUNT for name, count in hits.items()
    }
    assert hits["prompt_photograph"] == COUNT and min(hits.values()) > 0.5 * COUNT
    part = found["prompt_part"]
    wilson = binomtest(hits["prompt_part"], COUNT).proportion_ci(method="wilson")
    assert part.interval == pytest.approx((wilson.low, wilson.high))
    assert (part.label, part.better, part.n) == ("part as prompted (N=30)", "higher", COUNT)
    assert part.settings["prompts"] == COUNT and part.settings["interval"] == "wilson"
    assert part.extractor is not None and part.extractor["sha256"] == ref.weights_sha256


def test_pictures_of_other_prompts_do_not_follow(
    crops: np.ndarray, descriptions: list[Description], ref: CountingRef, tmp_path: Path
) -> None:
    write_run(tmp_path, np.roll(crops, 1, axis=0), prompt=captions(descriptions))
    assert scored(tmp_path, ref)["prompt_photograph"].value == 0


def test_one_look_serves_fd_ref_and_the_prompts(
    crops: np.ndarray, descriptions: list[Description], ref: CountingRef, tmp_path: Path
) -> None:
    write_run(tmp_path, crops[:8], prompt=captions(descriptions))
    ref.seen = 0
    found = scored(tmp_path, ref, "fd_ref", "prompt_accuracy", reference=Path("ref-photos"))
    assert ref.seen == 8 and set(found) == {"fd_ref", *METRICS}
    scored(tmp_path, ref)
    assert ref.seen == 8  # the rows are kept in the run's folder


def test_what_prompts_leave_open_is_left_out(
    crops: np.ndarray, ref: CountingRef, tmp_path: Path
) -> None:
    texts = [f"the {name} photo" for name in PHOTOGRAPHS[:6]] + [
        "a bus",
        "a far view of the coffee",
    ]
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(texts))
    np.savez(tmp_path / "samples.npz", arr_0=crops[:8])
    found = scored(tmp_path / "samples.npz", ref, prompts=file)
    assert {name: record.settings["prompts"] for name, record in found.items()} == {
        "prompt_photograph": 7,
        "prompt_nearness": 1,
        "prompt_mirrored": 7,
    }
    assert found["prompt_photograph"].value == 6 / 7  # the last of the pictures shows a flower
    assert found["prompt_nearness"].label == "nearness as prompted (N=8, asked of 1)"
    file.write_text("\n".join(texts).replace("bus", "dog"))
    again = scored(tmp_path / "samples.npz", ref, prompts=file)["prompt_nearness"]
    assert again.settings["prompts_sha256"] != found["prompt_nearness"].settings["prompts_sha256"]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (None, "no prompts on record, which prompt_accuracy compares"),
        (
            lambda index: f"bus number {index}",
            r'none of 4 prompts \(such as "bus number 0"\) names',
        ),
    ],
)
def test_refused_before_a_network_is_loaded(
    prompt: Callable[[int], str] | None,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scorer, "load_extractor", lambda *a, **k: pytest.fail("loaded"))
    write_run(tmp_path, pictures(4), prompt=prompt)
    with pytest.raises(DitAccelError, match=message):
        score(tmp_path, ["prompt_accuracy"])


def test_an_extractor_without_heads_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, pictures(4), prompt=lambda index: "the cat")
    with pytest.raises(DitAccelError, match="'ref' has no heads"):
        score(tmp_path, ["prompt_accuracy"], extractors={"ref": TinyExtractor()})
