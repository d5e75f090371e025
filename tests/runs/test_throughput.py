from __future__ import annotations

import pytest

from dit_accel.runs import speed


def batch(record, name: str, end: float, *, start: int = 0, size: int = 4, **changes: object):
    told = {"batch": name, "batch_size": size, "time": end, "seconds": 2.0} | changes
    return [record(start + i, **told) for i in range(size)]


def test_no_records_have_no_speed():
    assert speed([]) is None


def test_one_rank(record):
    records = batch(record, "a", 102.0) + batch(record, "b", 105.0, seconds=3.0)
    total = speed(records).total
    assert (total.images, total.batches) == (8, 2)
    assert total.wall_seconds == pytest.approx(5.0)
    assert total.images_per_second == pytest.approx(8 / 5)
    assert total.batch_seconds_median == pytest.approx(2.5)
    assert total.batch_seconds_iqr == pytest.approx(0.5)
    assert total.image_seconds_median == pytest.approx(2.5 / 4)


def test_ranks_work_at_the_same_time(record):
    records = batch(record, "a", 102.0, rank=0) + batch(record, "a", 103.0, rank=1, pid=8)
    found = speed(records)
    assert list(found.ranks) == [0, 1]
    assert found.ranks[1].images_per_second == pytest.approx(2.0)
    assert found.total.wall_seconds == pytest.approx(3.0)
    assert found.total.images_per_second == pytest.approx(8 / 3)


def test_pauses_between_launches_do_not_count(record):
    records = batch(record, "a", 102.0) + batch(record, "b", 104.0)
    records += batch(record, "a", 5000.0, pid=9)
    assert speed(records).total.wall_seconds == pytest.approx(6.0)
    # A wait that is not much longer than a batch is part of the work.
    records += batch(record, "b", 5010.0, pid=9)
    assert speed(records).total.wall_seconds == pytest.approx(16.0)


def test_batches_of_a_shard_that_were_recorded_at_once_came_one_after_the_other(record):
    records = [r for n in range(16) for r in batch(record, str(n), 100.0, start=4 * n)]
    records += [r for n in range(16) for r in batch(record, str(16 + n), 132.0, start=4 * n)]
    assert speed(records).total.wall_seconds == pytest.approx(64.0)


def test_a_batch_of_which_some_images_are_others(record):
    total = speed(batch(record, "a", 102.0)[:3]).total
    assert total.images == 3
    assert total.image_seconds_median == pytest.approx(0.5)


def test_batches_that_took_no_time_have_no_rate(record):
    assert speed(batch(record, "a", 102.0, seconds=0.0)).total.images_per_second == 0.0
