from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from dit_accel.runs import RunFolderError, atomic_write, write_json_atomically
from dit_accel.runs.atomic import create_exclusively, remove_abandoned
from dit_accel.runs.process import this_process

FORK = multiprocessing.get_context("fork")


def test_file_appears_as_a_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "new" / "file"
    with atomic_write(path) as file:
        file.write(b"half")
        assert not path.exists()
    with atomic_write(path) as file:
        file.write(b"other")
        assert path.read_bytes() == b"half"
    assert path.read_bytes() == b"other"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_document_is_json_that_people_can_read(tmp_path):
    path = tmp_path / "a.json"
    write_json_atomically(path, {"name": "Zoë", "n": [1, 2]})
    assert "Zoë" in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "Zoë", "n": [1, 2]}
    with pytest.raises(ValueError, match="JSON"):
        write_json_atomically(path, float("nan"))


def _write_too_much(path: Path, answers: multiprocessing.SimpleQueue) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        with atomic_write(path) as file:
            file.write(bytes(100_000))
        answers.put("written")
    except RunFolderError as error:
        answers.put(str(error))


def test_a_write_that_the_system_cuts_off_is_told_and_leaves_nothing(tmp_path, start_process):
    answers = FORK.SimpleQueue()
    start_process(_write_too_much, tmp_path / "file", answers).join()
    answer = answers.get()
    assert str(tmp_path / "file") in answer
    assert "run the same command again" in answer
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_no_cut_off_file(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system is not allowed here (remedy: run as root)")
    try:
        with pytest.raises(RunFolderError, match="No space left"), atomic_write(disk / "a") as file:
            file.write(bytes(1 << 20))
        assert os.listdir(disk) == []
        with atomic_write(disk / "a") as file:
            file.write(b"room again")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_at_the_very_end_is_told_as_well(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(RunFolderError, match="No space left"),
        atomic_write(tmp_path / "a", durable=True) as file,
    ):
        file.write(b"1")
    assert os.listdir(tmp_path) == []


def _hang_in_a_write(path: Path) -> None:
    with atomic_write(path) as file:
        file.write(b"half")
        file.flush()
        time.sleep(60)


def test_only_what_dead_processes_left_is_removed(tmp_path, start_process):
    (tmp_path / "images").mkdir()
    process = start_process(_hang_in_a_write, tmp_path / "images" / "a")
    while not os.listdir(tmp_path / "images"):
        time.sleep(0.01)
    foreign = tmp_path / ".b.0123456789ab-1-2.0.tmp"
    foreign.touch()
    others = tmp_path / ".somebody.tmp"
    others.touch()

    assert remove_abandoned(tmp_path) == 0
    os.kill(process.pid, signal.SIGKILL)
    while remove_abandoned(tmp_path) == 0:  # a zombie by now: nobody has waited for it yet
        time.sleep(0.01)
    assert os.listdir(tmp_path / "images") == []
    assert foreign.exists()
    os.utime(foreign, (0, 0))
    assert remove_abandoned(tmp_path) == 1
    assert others.exists()


def _race(path: Path, number: int, winners: multiprocessing.SimpleQueue) -> None:
    if create_exclusively(path, b"%d" % number):
        winners.put(number)


def test_exactly_one_of_many_processes_creates_a_file(tmp_path, start_process):
    winners = FORK.SimpleQueue()
    path = tmp_path / "file"
    for process in [start_process(_race, path, number, winners) for number in range(8)]:
        process.join()
    assert path.read_bytes() == b"%d" % winners.get()
    assert winners.empty()
    assert os.listdir(tmp_path) == ["file"]


def test_file_systems_without_hard_links_do(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert create_exclusively(tmp_path / "file", b"1")
    assert not create_exclusively(tmp_path / "file", b"2")
    assert (tmp_path / "file").read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["file"]


def test_a_temporary_name_tells_whose_it_is(tmp_path):
    with atomic_write(tmp_path / "file"):
        (name,) = os.listdir(tmp_path)
    assert re.fullmatch(rf"\.file\.{this_process().tag}\.\d+\.tmp", name)
