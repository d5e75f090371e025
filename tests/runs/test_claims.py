from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable

import pytest

from dit_accel.runs import ClaimBoard, RunFolder, claims
from dit_accel.runs.process import Process, this_machine, this_process

FORK = multiprocessing.get_context("fork")


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def rewrite(run: RunFolder, block: int, **changes: object) -> None:
    path = run.claims / f"{block:06d}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_block_is_held_by_one_board_at_a_time(new_run):
    run = new_run()
    with ClaimBoard(run, 0) as first, ClaimBoard(run, 1) as second:
        assert first.claim(3)
        assert first.claim(3)
        assert not second.claim(3)
        assert second.is_held_by_other(3)
        assert not first.is_held_by_other(3)
        assert not second.is_held_by_other(4)
        second.release(3)
        assert second.is_held_by_other(3)
        first.release(3)
        assert not second.is_held_by_other(3)
        assert second.claim(3)
        assert first.is_held_by_other(3)


def test_who_waits_for_a_block_leaves_the_lock_and_the_disk_alone(new_run, monkeypatch):
    run = new_run()
    with ClaimBoard(run, 0) as first, ClaimBoard(run, 1) as second:
        assert first.claim(3)
        with monkeypatch.context() as patch:
            patch.setattr(claims, "briefly_locked", None)
            patch.setattr(claims, "create_exclusively", None)
            assert not second.claim(3)
        first.release(3)
        assert second.claim(3)


def test_the_holder_of_a_block_has_a_name(new_run):
    run = new_run()
    with ClaimBoard(run, 4) as first, ClaimBoard(run, 1) as second:
        assert first.claim(3)
        assert second.holder(3) == f"rank 4 (process {os.getpid()} on {socket.gethostname()})"
        assert first.holder(3) is None and second.holder(2) is None


def test_a_claim_that_goes_while_it_is_read_is_none(new_run, monkeypatch):
    run = new_run()
    with ClaimBoard(run, 0) as first, ClaimBoard(run, 1) as second:
        assert first.claim(3)

        def stale(descriptor: int) -> os.stat_result:
            raise OSError(errno.ESTALE, "Stale file handle")

        with monkeypatch.context() as patch:
            patch.setattr(claims.os, "fstat", stale)
            assert not second.is_held_by_other(3)
        assert second.is_held_by_other(3)


def test_closing_gives_everything_back_and_leaves_nothing(new_run):
    run = new_run()
    with ClaimBoard(run, 0) as first:
        for block in range(5):
            assert first.claim(block)
        with ClaimBoard(run, 1) as second:
            assert not second.claim(0)
    first.close()
    assert [name for name in os.listdir(run.claims) if name != ".lock"] == []


def _claim_all(run: RunFolder, rank: int, won: multiprocessing.SimpleQueue) -> None:
    board = ClaimBoard(run, rank)
    won.put([block for block in range(20) if board.claim(block)])
    time.sleep(60)


def test_of_many_processes_one_gets_each_block(new_run, start_process):
    run, won = new_run(), FORK.SimpleQueue()
    for rank in range(4):
        start_process(_claim_all, run, rank, won)
    claimed = [block for _ in range(4) for block in won.get()]
    assert sorted(claimed) == list(range(20))


def test_the_claim_of_a_killed_process_is_void_at_once(new_run, start_process):
    run, won = new_run(), FORK.SimpleQueue()
    process = start_process(_claim_all, run, 0, won)
    won.get()
    with ClaimBoard(run, 1) as board:
        assert board.is_held_by_other(7)
        assert not board.claim(7)
        os.kill(process.pid, signal.SIGKILL)
        # Not joined: as a zombie it is dead already.
        wait_for(lambda: not board.is_held_by_other(7))
        assert board.claim(7)
        process.join()
        assert board.claim(8)


def test_a_recycled_process_number_does_not_look_alive(new_run):
    run = new_run()
    with ClaimBoard(run, 0) as first, ClaimBoard(run, 1) as second:
        assert first.claim(0)
        me = this_process()
        rewrite(run, 0, process=Process(me.machine, me.pid, me.started - 1000).tag)
        assert not second.is_held_by_other(0)
        assert second.claim(0)


def test_a_foreign_claim_is_void_after_its_lease(new_run):
    run = new_run()
    with ClaimBoard(run, 0) as first, ClaimBoard(run, 1) as second:
        assert first.claim(0)
        # Process 1 of another machine, or of another container: nobody here can ask for it.
        rewrite(run, 0, process="0123456789ab-999999-1", board="foreign")
        assert not second.claim(0)
        path = run.claims / "000000.json"
        now = path.stat().st_mtime
        os.utime(path, (now - 60, now - 60))
        assert second.is_held_by_other(0)
        os.utime(path, (now - 180, now - 180))
        assert not second.is_held_by_other(0)
        assert second.claim(0)


def test_the_age_of_a_claim_is_taken_by_the_file_systems_clock(new_run, monkeypatch):
    run = new_run()
    with ClaimBoard(run, 0) as first, ClaimBoard(run, 1) as second:
        assert first.claim(0)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 10_000)  # a host that is hours ahead
        assert not second.claim(0)


def test_the_owner_renews_its_lease(new_run):
    run = new_run()
    with ClaimBoard(run, 0, 0.8) as first, ClaimBoard(run, 1, 0.8) as second:
        assert first.claim(0)
        until = time.monotonic() + 1.6
        while time.monotonic() < until:
            assert second.is_held_by_other(0)
            time.sleep(0.05)
        assert first.lost == set()


def _claim_and_watch(run: RunFolder, answers: multiprocessing.SimpleQueue) -> None:
    board = ClaimBoard(run, 0, lease_seconds=0.4)
    answers.put(board.claim(0))
    wait_for(lambda: board.lost == {0})
    board.close()
    answers.put(board.is_held_by_other(0))
    time.sleep(60)


def test_a_suspended_process_loses_its_block_and_sees_that(new_run, start_process):
    run, answers = new_run(), FORK.SimpleQueue()
    process = start_process(_claim_and_watch, run, answers)
    assert answers.get()
    with ClaimBoard(run, 1, lease_seconds=0.4) as board:
        os.kill(process.pid, signal.SIGSTOP)
        wait_for(lambda: board.claim(0))
        os.kill(process.pid, signal.SIGCONT)
        assert answers.get()  # it lost the block, and did not give away what is ours now
        assert (run.claims / "000000.json").exists()


def test_a_damaged_claim_counts_by_its_age(new_run):
    run = new_run()
    with ClaimBoard(run, 0) as board:
        for content in (b"", b'{"block": 0, "pro', b"[]", b'{"board": "x", "process": 5}'):
            path = run.claims / "000000.json"
            path.write_bytes(content)
            assert board.is_held_by_other(0)
            assert not board.claim(0)
        os.utime(path, (0, 0))
        assert board.claim(0)


def test_a_lock_that_nobody_lets_go_of_does_not_stop_the_set(new_run, monkeypatch):
    from filelock import FileLock

    from dit_accel.runs import locking

    monkeypatch.setattr(locking, "_PATIENCE_SECONDS", 0.1)
    run = new_run()
    with ClaimBoard(run, 0) as board, FileLock(run.claims / ".lock"):
        assert board.claim(0)
        board.release(0)
        assert not board.is_held_by_other(0)


def test_a_process_knows_itself_also_after_a_fork(start_process):
    answers = FORK.SimpleQueue()
    mine = this_process()
    process = start_process(lambda: answers.put(this_process()))
    theirs = answers.get()
    assert (theirs.machine, theirs.pid) == (mine.machine, process.pid)
    assert Process.from_tag(f".x.{mine.tag}.3.tmp") == mine
    assert not mine.is_known_dead()
    assert len(this_machine()) == 12


@pytest.mark.parametrize("text", ["", ".x.tmp", "0123-1-2"])
def test_a_name_without_a_process_names_none(text):
    assert Process.from_tag(text) is None
