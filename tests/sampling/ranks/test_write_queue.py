"""The queue behind the sampler: in order, bounded, and never silent about an error."""

from __future__ import annotations

import threading
import time

import pytest

from dit_accel.sampling.ranks.write_queue import WriteQueue


def test_runs_jobs_in_order_in_another_thread_and_drains_at_the_end() -> None:
    done: list[tuple[int, threading.Thread]] = []
    with WriteQueue() as queue:
        for number in range(20):
            queue.put(lambda n=number: done.append((n, threading.current_thread())))
    assert [number for number, _ in done] == list(range(20))
    assert {thread for _, thread in done}.isdisjoint({threading.current_thread()})


def test_put_waits_while_the_queue_is_full() -> None:
    gate, put = threading.Event(), []
    with WriteQueue(depth=2) as queue:

        def fill() -> None:
            for number in range(4):
                queue.put(gate.wait)
                put.append(number)

        filler = threading.Thread(target=fill)
        filler.start()
        time.sleep(0.2)
        assert put == [0, 1, 2], "one at work, two waiting"
        gate.set()
        filler.join(5)
        assert put == [0, 1, 2, 3]


def test_the_sampler_goes_on_while_a_job_runs() -> None:
    gate = threading.Event()
    with WriteQueue() as queue:
        queue.put(gate.wait)
        gate.set()  # never reached if put waited for the job


def test_an_error_ends_the_work_and_comes_out() -> None:
    done: list[int] = []
    queue = WriteQueue(depth=1)

    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), queue:
        queue.put(fail)
        for number in range(100):  # more than fit: a put that waited for ever would hang here
            queue.put(lambda n=number: done.append(n))
        pytest.fail("the error was kept back")
    assert done == []
    with pytest.raises(OSError, match="disk full"):
        queue.check()


def test_an_error_of_the_last_job_comes_out_at_the_end() -> None:
    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), WriteQueue() as queue:
        queue.put(fail)


def test_what_is_queued_is_done_although_the_sampler_failed() -> None:
    done: list[int] = []
    with pytest.raises(RuntimeError, match="sampler"), WriteQueue() as queue:
        queue.put(lambda: time.sleep(0.05))
        queue.put(lambda: done.append(1))
        raise RuntimeError("sampler")
    assert done == [1]
