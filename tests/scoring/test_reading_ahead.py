"""Reading ahead: order kept, never more than asked for, errors where they happen."""

import threading

import numpy as np
import pytest

from dit_accel.scoring.reading_ahead import in_batches, read_ahead


def test_keeps_the_order() -> None:
    assert list(read_ahead(lambda n: n * n, range(200))) == [n * n for n in range(200)]


def test_reads_only_so_far_ahead() -> None:
    started = []
    lock = threading.Lock()

    def read(number: int) -> int:
        with lock:
            started.append(number)
        return number

    results = read_ahead(read, range(1000), ahead=5)
    for _ in range(3):
        next(results)
    results.close()
    assert max(started) <= 8


def test_an_error_comes_in_its_place() -> None:
    def read(number: int) -> int:
        if number == 3:
            raise OSError("broken")
        return number

    results = read_ahead(read, range(100))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="broken"):
        next(results)


def test_batches_end_where_the_size_changes() -> None:
    images = [np.full((size, 4, 3), n, np.uint8) for n, size in enumerate([2, 2, 2, 5, 5, 2])]
    batches = list(in_batches(images, 2))
    assert [batch.shape for batch in batches] == [
        (2, 2, 4, 3),
        (1, 2, 4, 3),
        (2, 5, 4, 3),
        (1, 2, 4, 3),
    ]
    assert [int(image[0, 0, 0]) for batch in batches for image in batch] == list(range(6))
