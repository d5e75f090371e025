"""When two scores differ, and which may be compared."""

from __future__ import annotations

import dataclasses

from score_records import record

from dit_accel.scoring.ties import is_rival, is_tie, resolution


def test_differences_within_the_intervals_are_ties() -> None:
    a = record("fd_ref", 10.0, interval=(9.0, 11.0))
    assert is_tie(a, record("fd_ref", 11.3, interval=(10.3, 12.3)))  # 1.3 < sqrt(1 + 1)
    assert not is_tie(a, record("fd_ref", 11.5, interval=(10.5, 12.5)))


def test_spreads_stand_in_for_intervals() -> None:
    a = record("kid", 1.0, interval=None, std=0.5)
    assert is_tie(a, record("kid", 1.9, interval=None, std=0.0))
    assert not is_tie(a, record("kid", 2.1, interval=None, std=0.0))


def test_without_any_interval_only_equals_tie() -> None:
    a = record("precision", 0.5, interval=None)
    assert resolution(a, a) is None
    assert is_tie(a, record("precision", 0.5, interval=None))
    assert not is_tie(a, record("precision", 0.51, interval=None))


def test_infinite_values() -> None:
    infinite = record("psnr", None, interval=None)
    assert is_tie(infinite, infinite)
    assert not is_tie(infinite, record("psnr", 40.0))


def test_forced_partial_and_exact_scores_have_no_rivals() -> None:
    plain = record("ssim", 0.9, better="higher")
    assert is_rival(plain)
    assert not is_rival(dataclasses.replace(plain, forced=True))
    assert not is_rival(dataclasses.replace(plain, complete=False))
    own = {"path": "run", "fingerprint": "a" * 64, "images": plain.images["fingerprint"]}
    assert not is_rival(dataclasses.replace(plain, baseline=own))
    assert is_rival(dataclasses.replace(plain, baseline={**own, "images": "b" * 64}))
