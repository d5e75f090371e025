"""What is scored, what is refused, and what is marked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scored_runs import TinyExtractor, pictures, write_run

from dit_accel.errors import DitAccelError
from dit_accel.metrics import (
    frechet_difference_interval,
    frechet_distance,
    frechet_subset_interval,
    inception_score,
    kernel_distance,
    prdc,
)
from dit_accel.scoring import scorer
from dit_accel.scoring.distribution import subset_size
from dit_accel.scoring.features import extract_rows
from dit_accel.scoring.opening import open_image_set, open_source
from dit_accel.scoring.reference import make_reference
from dit_accel.scoring.score import score, score_all
from dit_accel.scoring.scorer import ScoreRequest

COUNT, REAL = 24, 40


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sets")
    write_run(path / "run", pictures(COUNT))
    write_run(path / "partial", pictures(COUNT), present=range(20))
    np.savez(path / "real.npz", arr_0=pictures(REAL, seed=3))
    make_reference(open_image_set(path / "real.npz"), TinyExtractor(), path / "ref.npz")
    return path


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> Callable[[], TinyExtractor]:
    """Loading a network is an error: what is refused must be refused before."""

    def load(*args: object, **kwargs: object) -> TinyExtractor:
        raise AssertionError("an extractor was loaded")

    monkeypatch.setattr(scorer, "load_extractor", load)
    return load


def loaded(*names: str) -> dict[str, TinyExtractor]:
    return {name: TinyExtractor(name) for name in names or ("ref",)}


def rows(images: np.ndarray, output: str = "features") -> np.ndarray:
    return extract_rows(images, [TinyExtractor()])[0][output]


def test_values_are_those_of_the_metrics(place: Path) -> None:
    names = ["fd_ref", "kid_ref", "prdc_ref"]
    records = score(place / "run", names, reference=place / "ref.npz", extractors=loaded())
    found = {record.metric: record for record in records}
    real, fake = rows(pictures(REAL, seed=3)), rows(pictures(COUNT))
    distance = frechet_distance(fake.mean(0), np.cov(fake.T), real.mean(0), np.cov(real.T))
    assert found["fd_ref"].value == pytest.approx(distance, rel=1e-4)
    kernel = kernel_distance(fake, real, subset_size=COUNT // 2)
    assert found["kid_ref"].value == pytest.approx(kernel.value, rel=1e-4)
    assert found["kid_ref"].std == pytest.approx(kernel.std, rel=1e-4)
    three, five = (prdc(real, fake, nearest_k=k) for k in (3, 5))
    expected = {
        "precision_ref": three.precision,
        "recall_ref": three.recall,
        "density_ref": five.density,
        "coverage_ref": five.coverage,
    }
    assert {name: found[name].value for name in expected} == pytest.approx(expected)


def test_inception_score_and_sfid_use_their_own_outputs(place: Path) -> None:
    records = score(
        place / "run",
        ["is", "sfid"],
        reference=place / "real.npz",
        extractors=loaded("inception-tf"),
    )
    logits = rows(pictures(COUNT), "logits")
    assert records[0].value == pytest.approx(inception_score(logits).value, rel=1e-5)
    real, fake = rows(pictures(REAL, seed=3), "spatial"), rows(pictures(COUNT), "spatial")
    distance = frechet_distance(fake.mean(0), np.cov(fake.T), real.mean(0), np.cov(real.T))
    assert records[1].value == pytest.approx(distance, rel=1e-4)
    assert records[1].label == "sFID (N=24, too few: below 2,048)"


def test_numbers_of_the_shipped_extractor_are_never_called_fid(place: Path) -> None:
    names = ["fd_ref", "kid_ref", "prdc_ref", "feature_cosine", "fd_to_dense"]
    records = score(
        place / "run",
        names,
        reference=place / "ref.npz",
        baseline=place / "run",
        extractors=loaded(),
    )
    assert all("-ref" in record.label and "FID" not in record.label for record in records)


def test_a_record_holds_what_made_it(place: Path) -> None:
    [record] = score(place / "run", ["fd_ref"], reference=place / "ref.npz", extractors=loaded())
    line = json.loads(record.to_json())
    assert line["label"] == "FD-ref (N=24)"
    assert (line["n"], line["complete"], line["forced"]) == (COUNT, True, False)
    assert line["extractor"]["sha256"] == TinyExtractor().weights_sha256
    assert line["reference"]["n"] == REAL
    assert len(line["reference"]["sha256"]) == len(line["images"]["fingerprint"]) == 64
    assert line["interval"][0] < line["value"] < line["interval"][1]
    assert "versions" in line["provenance"]


def test_three_metrics_look_once(place: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "fresh", pictures(COUNT, seed=8))
    extractors = loaded()
    names = ["fd_ref", "kid_ref", "prdc_ref"]
    score(tmp_path / "fresh", names, reference=place / "ref.npz", extractors=extractors)
    assert extractors["ref"].seen == COUNT


@pytest.mark.usefixtures("unopened")
@pytest.mark.parametrize(
    ("metrics", "options", "message"),
    [
        (["fd_reff"], {}, "did you mean 'fd_ref'"),
        ([], {}, "metrics: none given"),
        (["fd_ref"], {"interval": "subset"}, "did you mean 'subsets'"),
        (["fd_ref_delta"], {"reference": "ref.npz"}, "baseline: missing, which fd_ref_delta"),
        (["fd_ref_delta"], {"baseline": "run"}, "reference: missing, which fd_ref_delta"),
        (["fd_ref"], {}, "reference: missing, which fd_ref needs"),
        (["psnr"], {}, "baseline: missing, which psnr needs"),
        (["fd_ref"], {"reference": "nowhere.npz"}, "there is nothing"),
        (["fd_ref"], {"reference": "ref.npz", "extractor": "reff"}, "extractor: got"),
        (["clip_score"], {}, "no prompts on record"),
        (["psnr"], {"baseline": "real.npz"}, "is no run folder"),
    ],
)
def test_refused_before_a_network_is_loaded(
    place: Path, metrics: list[str], options: dict[str, str], message: str
) -> None:
    paths = {
        key: value if key in ("extractor", "interval") else place / value
        for key, value in options.items()
    }
    with pytest.raises(DitAccelError, match=message):
        score(place / "run", metrics, **paths)


@pytest.mark.usefixtures("unopened")
def test_the_reference_is_opened_before_any_picture(place: Path, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", pictures(COUNT))
    for file in folder.images.rglob("*.png"):
        file.write_bytes(b"broken")
    with pytest.raises(DitAccelError, match="there is nothing"):
        score(folder.path, ["fd_ref"], reference=tmp_path / "absent.npz")


@pytest.mark.usefixtures("unopened")
def test_a_reference_without_rows_serves_distances_alone(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    make_reference(open_image_set(place / "real.npz"), TinyExtractor(), path, with_rows=False)
    for name in ("kid_ref", "prdc_ref"):
        with pytest.raises(
            DitAccelError, match=f"holds no features of single images, which {name}"
        ):
            score(place / "run", [name], reference=path)
    [record] = score(place / "run", ["fd_ref"], reference=path, extractors=loaded())
    assert record.n == COUNT


@pytest.mark.usefixtures("unopened")
def test_a_partial_set_is_refused_or_labelled(place: Path) -> None:
    with pytest.raises(DitAccelError, match="has 20 of 24 images"):
        score(place / "partial", ["fd_ref"], reference=place / "ref.npz")
    [record] = score(
        place / "partial",
        ["fd_ref"],
        reference=place / "ref.npz",
        allow_partial=True,
        extractors=loaded(),
    )
    assert (record.n, record.complete) == (20, False)
    assert record.label == "FD-ref (N=20, partial: 20 of 24)"


def test_sets_of_different_size_are_refused_or_marked(place: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "small", pictures(10))
    targets = [place / "run", tmp_path / "small"]
    request = ScoreRequest(("fd_ref",), reference=place / "ref.npz")
    with pytest.raises(DitAccelError, match=r"different N cannot be compared .*24.*10"):
        score_all(targets, request, extractors=loaded())
    told: list[str] = []
    forced = ScoreRequest(("fd_ref",), reference=place / "ref.npz", force=True)
    found = score_all(targets, forced, extractors=loaded(), notify=told.append)
    assert [record.forced for [record] in found] == [True, True]
    assert told and told[0].startswith("forced: sets of different N")


def test_another_preprocessing_is_refused_or_marked(place: Path) -> None:
    extractors = {"ref": TinyExtractor(seed=1)}
    with pytest.raises(DitAccelError, match="was made with sha256"):
        score(place / "run", ["fd_ref"], reference=place / "ref.npz", extractors=extractors)
    [record] = score(
        place / "run", ["fd_ref"], reference=place / "ref.npz", extractors=extractors, force=True
    )
    assert record.forced


def test_a_baseline_of_other_seeds_is_refused_or_marked(place: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "other", pictures(COUNT), seed=100)
    with pytest.raises(DitAccelError, match=r"24 images have another seed.*image 0.*seed 100"):
        score(place / "run", ["ssim"], baseline=tmp_path / "other")
    write_run(tmp_path / "texts", pictures(COUNT), prompt=str)
    with pytest.raises(DitAccelError, match="another seed or condition"):
        score(place / "run", ["ssim"], baseline=tmp_path / "texts")
    [record] = score(place / "run", ["ssim"], baseline=tmp_path / "other", force=True)
    assert record.forced


def test_a_partial_run_is_paired_on_what_both_hold(place: Path) -> None:
    options = {"baseline": place / "run", "allow_partial": True}
    with pytest.raises(DitAccelError, match="other indices"):
        score(place / "partial", ["ssim"], **options)
    names = ["ssim", "feature_cosine", "fd_to_dense"]
    records = score(place / "partial", names, force=True, extractors=loaded(), **options)
    assert {record.n for record in records} == {20}
    assert records[0].value == pytest.approx(1)
    assert records[1].value == pytest.approx(1)


def test_a_file_of_statistics_as_the_target(place: Path) -> None:
    extractors = loaded()
    options = {"reference": place / "ref.npz", "extractors": extractors}
    [whole] = score(place / "run", ["fd_ref"], **options)
    [merged] = score(place / "run" / "statistics" / "ref.npz", ["fd_ref"], **options)
    assert merged.value == pytest.approx(whole.value, rel=1e-9)
    assert (merged.n, merged.interval) == (COUNT, None)
    with pytest.raises(DitAccelError, match="holds no features of single images"):
        score(place / "run" / "statistics" / "ref.npz", ["kid_ref"], **options)


def test_statistics_without_n_are_no_target(place: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "foreign.npz", mu=np.zeros(6), sigma=np.eye(6))
    with pytest.raises(DitAccelError, match="does not say of how many"):
        score(tmp_path / "foreign.npz", ["fd_ref"], reference=place / "ref.npz")
    told: list[str] = []
    reference = tmp_path / "foreign.npz"
    [record] = score(
        place / "run", ["fd_ref"], reference=reference, extractors=loaded(), notify=told.append
    )
    assert record.reference is not None
    assert record.reference["n"] is None
    assert "on trust" in told[0]


def test_clip_score_takes_the_prompts_of_the_run(tmp_path: Path) -> None:
    def prompt(index: int) -> str:
        return f"a picture, number {index}"

    write_run(tmp_path / "run", pictures(COUNT), prompt=prompt)
    extractors = loaded("clip-vit-l-14")
    [record] = score(tmp_path / "run", ["clip_score"], extractors=extractors)
    texts = extractors["clip-vit-l-14"].text_features([prompt(i) for i in range(COUNT)]).numpy()
    images = rows(pictures(COUNT))
    cosines = (texts * images).sum(1) / np.linalg.norm(texts, axis=1)
    expected = 100 * np.clip(cosines / np.linalg.norm(images, axis=1), 0, None).mean()
    assert record.value == pytest.approx(expected, rel=1e-4)
    file = tmp_path / "prompts.txt"
    file.write_text("".join(f"{prompt(i)}\n" for i in range(COUNT)))
    np.savez(tmp_path / "samples.npz", arr_0=pictures(COUNT))
    [again] = score(tmp_path / "samples.npz", ["clip_score"], prompts=file, extractors=extractors)
    assert again.value == pytest.approx(record.value)


def test_the_difference_to_the_baseline_has_the_interval_of_shared_seeds(
    place: Path, tmp_path: Path
) -> None:
    near = pictures(COUNT) // 2 + 60
    write_run(tmp_path / "plan", near, plan="plan")
    [delta, own] = score(
        tmp_path / "plan",
        ["fd_ref_delta", "fd_ref"],
        reference=place / "ref.npz",
        baseline=place / "run",
        extractors=loaded(),
    )
    [base] = score(place / "run", ["fd_ref"], reference=place / "ref.npz", extractors=loaded())
    assert delta.label == "ΔFD-ref to run (N=24)"
    assert delta.value == pytest.approx(own.value - base.value)
    real = rows(pictures(REAL, seed=3))
    expected = frechet_difference_interval(
        rows(near), rows(pictures(COUNT)), real.mean(0), np.cov(real.T)
    )
    assert delta.interval == pytest.approx((expected.low, expected.high), rel=1e-3)
    assert delta.reference is not None and delta.baseline is not None


def test_the_interval_can_come_from_subsets(place: Path) -> None:
    options = {"reference": place / "ref.npz", "extractors": loaded()}
    [record] = score(place / "run", ["fd_ref"], interval="subsets", **options)
    real = rows(pictures(REAL, seed=3))
    found = frechet_subset_interval(rows(pictures(COUNT)), real.mean(0), np.cov(real.T))
    assert record.interval == pytest.approx((found.low, found.high), rel=1e-3)
    assert record.settings == {"interval": "subsets", "num_subsets": 100, "seed": 2020}
    [usual] = score(place / "run", ["fd_ref"], **options)
    assert usual.settings == {"interval": "influence"}


def test_not_a_number_is_no_score(place: Path, tmp_path: Path) -> None:
    """It would be written like an infinite PSNR, and be best of all."""

    class Broken(TinyExtractor):
        def __call__(self, images: object) -> dict[str, object]:
            return {key: 0 * rows for key, rows in super().__call__(images).items()}

    write_run(tmp_path / "run", pictures(COUNT))
    with pytest.raises(DitAccelError, match="feature_cosine is not a number"):
        score(
            tmp_path / "run",
            ["feature_cosine"],
            baseline=tmp_path / "run",
            extractors={"ref": Broken()},
        )


@pytest.mark.parametrize(("n", "size"), [(8, 4), (1000, 500), (1999, 999), (2000, 1000)])
def test_subsets_are_never_more_than_half_of_a_set(n: int, size: int) -> None:
    assert subset_size(n, 50_000) == size


def test_the_shipped_reference_is_called_by_its_name() -> None:
    assert open_source("ref-photos").name == "ref-photos"  # and not by a path of this machine
