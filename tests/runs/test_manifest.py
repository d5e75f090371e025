from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
import time
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dit_accel.runs import (
    ImageRecord,
    ManifestTail,
    ManifestWriter,
    RunFolder,
    RunFolderError,
    count_images,
    read_manifest,
)
from dit_accel.runs.manifest_reading import parse_record

FORK = multiprocessing.get_context("fork")


def test_records_of_all_ranks_come_back(new_run, record):
    run = new_run(20)
    expected = {}
    for rank in range(3):
        with ManifestWriter(run, rank) as manifest:
            for start in (rank, rank + 9):
                records = [record(i, rank=rank) for i in range(start, start + 9, 3)]
                manifest.append(records)
                expected |= {r.index: r for r in records}
            assert manifest.path == run.manifest / f"rank-{rank:03d}.jsonl"
            assert manifest.notice is None
    found = read_manifest(run)
    assert found == expected
    assert (found.skipped_lines, found.conflicts, count_images(run)) == (0, 0, 18)


def test_a_run_that_has_not_begun_has_no_images(new_run):
    assert read_manifest(new_run()) == {}
    assert ManifestTail(new_run()).count() == 0


texts = st.text(st.characters(), max_size=40)  # with line ends, quotes, emoji, lone surrogates


@settings(max_examples=100, deadline=None)
@given(prompt=st.none() | texts, label=st.none() | st.integers(), seconds=st.floats(0, 1e9))
def test_every_prompt_survives(tmp_path_factory, prompt, label, seconds):
    run = RunFolder.create_or_resume(
        tmp_path_factory.mktemp("run"),
        identity={"num_samples": 1},
        settings={},
        environment={},
        block_size=1,
    )
    told = ImageRecord(
        0, 2**63, label, prompt, "images/é.png", None, "0", 0, "host", 1, "b", 1, seconds, 1.5
    )
    with ManifestWriter(run, 0) as manifest:
        manifest.append([told])
    assert read_manifest(run) == {0: told}


def test_a_line_cut_off_anywhere_is_skipped_and_spoils_nothing_after_it(new_run, record):
    run = new_run()
    with ManifestWriter(run, 0) as manifest:
        manifest.append([record(0), record(1, prompt='a 🐱 / "x"\n')])
        path = manifest.path
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first + 1, len(whole)):
        path.write_bytes(whole[:length])
        found = read_manifest(run)
        assert (set(found), found.skipped_lines) == ({0}, 1)
        if length % 10:
            continue
        with ManifestWriter(run, 0) as manifest:
            manifest.append([record(2)])
        found = read_manifest(run)
        # Only the line feed was missing: then the line is whole after all.
        whole_after_all = length == len(whole) - 1
        assert set(found) == ({0, 1, 2} if whole_after_all else {0, 2})
        assert found.skipped_lines == (not whole_after_all)


def test_an_append_that_fails_half_way_is_told_and_spoils_nothing(new_run, record, monkeypatch):
    run = new_run()
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        write(descriptor, content[:20])
        raise OSError(28, "No space left on device")

    with ManifestWriter(run, 0) as manifest:
        manifest.append([record(0)])
        with monkeypatch.context() as patch, pytest.raises(RunFolderError, match="No space left"):
            patch.setattr(os, "write", full)
            manifest.append([record(1)])
        manifest.append([record(2)])
    found = read_manifest(run)
    assert (set(found), found.skipped_lines) == ({0, 2}, 1)


def test_an_append_written_in_parts_is_whole(new_run, record, monkeypatch):
    run = new_run()
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:50]))
    with ManifestWriter(run, 0) as manifest:
        manifest.append([record(0), record(1)])
    monkeypatch.undo()
    assert read_manifest(run) == {0: record(0), 1: record(1)}


@pytest.mark.parametrize(
    "changes",
    [
        {"index": "3"},
        {"index": True},
        {"seconds": None},
        {"sha256": 5},
        {"file": "/etc/passwd"},
        {"file": "images/../../secret.png"},
    ],
)
def test_a_line_that_is_no_record_is_none(record, changes):
    assert parse_record(json.dumps(asdict(record(0))).encode()) == record(0)
    assert parse_record(json.dumps(asdict(record(0)) | changes).encode()) is None


@pytest.mark.parametrize("line", [b"[1]", b"3", b"\xff\xfe", b"{", b"{}", b'"x"', b"[" * 100_000])
def test_garbage_is_skipped_and_counted(new_run, record, line):
    run = new_run()
    with ManifestWriter(run, 0) as manifest:
        manifest.append([record(0)])
    with manifest.path.open("ab") as file:
        file.write(line + b"\n\n")
    with ManifestWriter(run, 0) as manifest:
        manifest.append([record(1)])
    found = read_manifest(run)
    assert (set(found), found.skipped_lines) == ({0, 1}, 1)


def test_images_outside_of_the_set_do_not_count(new_run, record):
    run = new_run(4)
    with ManifestWriter(run, 0) as manifest:
        manifest.append([record(3), record(4), record(-1)])
    assert set(read_manifest(run)) == {3}


def test_a_manifest_that_cannot_be_read_is_told(new_run):
    run = new_run()
    (run.manifest / "rank-000.jsonl").mkdir(parents=True)  # root may read any file
    with pytest.raises(RunFolderError, match=r"cannot read .*rank-000\.jsonl: Is a directory"):
        read_manifest(run)


def test_of_two_records_of_an_image_the_newest_counts(new_run, record):
    run = new_run()
    with ManifestWriter(run, 1) as second, ManifestWriter(run, 0) as first:
        second.append([record(0, time=1.0), record(1, time=5.0), record(2, time=1.0)])
        first.append([record(0, time=3.0), record(1, time=2.0, sha256="other")])
    found = read_manifest(run)
    assert found == {0: record(0, time=3.0), 1: record(1, time=5.0), 2: record(2, time=1.0)}
    assert found.conflicts == 1


def test_the_tail_reads_on_where_it_was(new_run, record):
    run = new_run(100)
    tail = ManifestTail(run)
    with ManifestWriter(run, 0) as manifest:
        manifest.append([record(0)])
        assert tail.count() == 1
        line = json.dumps(asdict(record(1))).encode()
        os.write(manifest._descriptor, line[:30])
        assert tail.count() == 1
        os.write(manifest._descriptor, line[30:] + b"\n")
        assert tail.count() == 2
    with ManifestWriter(run, 5) as manifest:
        manifest.append([record(1), record(9)])
        assert set(tail.refresh()) == {0, 1, 9}
    assert tail.refresh() == read_manifest(run)
    assert tail.manifest.skipped_lines == 0


def _hold(run: RunFolder, ready: multiprocessing.Event) -> None:
    with ManifestWriter(run, 0):
        ready.set()
        time.sleep(60)


def test_two_processes_of_one_rank_write_to_two_files(new_run, record, start_process):
    run, ready = new_run(), FORK.Event()
    process = start_process(_hold, run, ready)
    assert ready.wait(30)
    with ManifestWriter(run, 0) as manifest:
        assert manifest.path.name == "rank-000-2.jsonl"
        assert "rank 0 is in use by another process" in (manifest.notice or "")
        manifest.append([record(0)])
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with ManifestWriter(run, 0) as manifest:
        assert manifest.path.name == "rank-000.jsonl"
        assert manifest.notice is None
    assert count_images(run) == 1


def test_without_locks_a_file_is_one_process_own(new_run, record, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    run = new_run()
    monkeypatch.setattr(fcntl, "flock", refuse)
    with ManifestWriter(run, 0) as manifest:
        assert str(os.getpid()) in manifest.path.name
        manifest.append([record(0)])
    assert count_images(run) == 1


def test_closing_twice_is_closing_once(new_run):
    manifest = ManifestWriter(new_run(), 0)
    manifest.close()
    manifest.close()
