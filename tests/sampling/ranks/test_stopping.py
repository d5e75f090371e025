"""Signals: a wish at first, an order the second time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from dit_accel.sampling.ranks import stopping
from dit_accel.sampling.ranks.stopping import stop_on_signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_a_request(
    number: signal.Signals, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop.requested and stop.exit_code == 0
        signal.raise_signal(number)
        assert stop.requested and stop.exit_code == code
    assert signal.getsignal(number) is before
    assert "stopping after the batch in hand" in capfd.readouterr().err


def test_a_standard_error_that_nobody_reads_is_no_reason_to_fall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(descriptor: int, text: bytes) -> int:
        raise BrokenPipeError

    with stop_on_signals() as stop:
        monkeypatch.setattr(stopping.os, "write", broken)
        signal.raise_signal(signal.SIGINT)
        assert stop.requested


def test_handlers_are_put_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="body"), stop_on_signals():
        raise ValueError("body")
    assert signal.getsignal(signal.SIGINT) is before


def test_the_launchers_echo_of_a_signal_is_no_second_one() -> None:
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert stop.exit_code == 130, "the first one counts"


def test_a_second_signal_ends_the_process_at_once() -> None:
    # The module by its path: a package import of seconds would be all that is measured.
    program = f"""
import importlib.util, signal, sys, time
spec = importlib.util.spec_from_file_location("stopping", {stopping.__file__!r})
stopping = importlib.util.module_from_spec(spec)
sys.modules["stopping"] = stopping
spec.loader.exec_module(stopping)
stopping.ECHO_SECONDS = 0.05
with stopping.stop_on_signals() as stop:
    signal.raise_signal(signal.SIGINT)
    time.sleep(0.1)
    signal.raise_signal(signal.SIGINT)
    print("still here")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT and "still here" not in done.stdout


def test_other_threads_install_no_handlers() -> None:
    before, found = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with stop_on_signals() as stop:
            found.append((stop.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, before)]


def test_a_signal_from_outside_interrupts_a_wait() -> None:
    with stop_on_signals() as stop:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        threading.Event().wait(0.3)
        assert stop.exit_code == 143
