"""What is shown of a set in the making."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dit_accel.runs import (
    ImageRecord,
    Manifest,
    ManifestTail,
    ManifestWriter,
    RunFolder,
    RunFolderError,
)
from dit_accel.sampling.ranks import set_progress
from dit_accel.sampling.ranks.set_progress import (
    Pace,
    SetProgress,
    describe_set,
    show_bar,
    show_lines,
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create_or_resume(
        tmp_path / "run", identity={"num_samples": 4}, settings={}, environment={}, block_size=2
    )


def record(index: int, rank: int = 0, end: float = 100.0) -> ImageRecord:
    return ImageRecord(
        index=index,
        seed=index,
        class_label=0,
        prompt=None,
        file=f"images/{index}.png",
        member=None,
        sha256="0",
        rank=rank,
        host="here",
        pid=1,
        batch=f"batch-{index}",
        batch_size=1,
        seconds=2.0,
        time=end,
    )


def test_pace_counts_what_was_made_since_the_start() -> None:
    pace = Pace(total=100, at_start=10, now=30, seconds=40.0)
    assert pace.speed == 0.5
    assert str(pace) == "0.5 images/s, 0:02:20 left"
    assert str(Pace(100, 10, 10, 5.0)) == "waiting for the first batch"
    assert str(Pace(100, 100, 100, 5.0)) == "nothing left to do"
    assert str(Pace(100, 90, 100, 5.0)) == "2 images/s"


def test_progress_knows_whether_the_set_is_complete() -> None:
    progress = SetProgress(num_samples=4, complete=3, made=2, seconds=61.4)
    assert not progress.is_complete
    assert str(progress) == "made 2 images in 61 s; 3 of 4 are there"
    assert SetProgress(4, 4, 0, 0.1).is_complete


def test_lines_count_the_images_of_all_ranks(
    folder: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_progress, "LINE_SECONDS", 0.02)
    with ManifestWriter(folder, 0) as first, ManifestWriter(folder, 1) as second:
        first.append([record(0)])
        with show_lines(folder):
            second.append([record(1, rank=1), record(2, rank=1)])
            time.sleep(0.3)
            first.append([record(3)])
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and [line.split()[0] for line in lines] == ["3/4", "4/4"]
    assert "images/s" in lines[0] and "left" in lines[0]


def test_the_bar_leaves_the_last_count_on_standard_error(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with show_bar(folder), ManifestWriter(folder, 0) as manifest:
        manifest.append([record(0), record(1)])
    out, err = capsys.readouterr()
    assert out == "" and "2/4" in err


def test_the_follower_ends_with_an_error_of_the_work(folder: RunFolder) -> None:
    with pytest.raises(ValueError, match="work"), show_lines(folder):
        raise ValueError("work")


def test_the_follower_gets_over_a_look_that_failed(
    folder: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_progress, "LINE_SECONDS", 0.02)
    refresh, looks = ManifestTail.refresh, []

    def sometimes(tail: ManifestTail) -> Manifest:
        looks.append(tail)
        if len(looks) == 2:
            raise RunFolderError("cannot read it")
        return refresh(tail)

    monkeypatch.setattr(ManifestTail, "refresh", sometimes)
    with ManifestWriter(folder, 0) as manifest, show_lines(folder):
        manifest.append([record(0)])
        until = time.monotonic() + 20
        while len(looks) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(looks) >= 4, "the thread is dead"
    assert capsys.readouterr().err.startswith("1/4 images")


def test_the_description_tells_the_speed_of_each_rank_and_of_all(folder: RunFolder) -> None:
    assert describe_set(folder).endswith("run: 0 of 4 images")
    with ManifestWriter(folder, 0) as first, ManifestWriter(folder, 1) as second:
        first.append([record(0, end=102.0), record(1, end=104.0)])
        assert len(describe_set(folder).splitlines()) == 2, "one rank is all"
        second.append([record(2, rank=1, end=102.0), record(3, rank=1, end=104.0)])
    lines = describe_set(folder).splitlines()
    assert lines[0].endswith("4 of 4 images")
    assert lines[1].startswith("rank 0: 2 images, 0.5 images/s, batches of 2 s")
    assert lines[3].startswith("in all: 4 images, 1 images/s")
