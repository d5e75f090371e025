"""Text that is kept: the same text is recognised, another never taken for it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dit_accel.exact.text_rows import HeldText, distinct_rows


def test_the_same_text_is_recognised_without_a_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    text = torch.randn(4, 3, 2)
    held = HeldText(text[:2])
    monkeypatch.setattr(torch, "equal", lambda *_: pytest.fail("compared"))
    assert held.is_same(text[:2])


def test_equal_text_elsewhere_is_the_same() -> None:
    text = torch.randn(4, 3, 2)
    held = HeldText(text)
    assert held.is_same(text.clone())
    assert not held.is_same(text.flip(0))
    assert not held.is_same(text[:3])
    assert not held.is_same(text.double())
    assert not held.is_same(text.transpose(1, 2).reshape(4, 3, 2))


@pytest.mark.parametrize("inference", [False, True])
def test_text_that_was_written_to_is_another(inference: bool) -> None:
    with torch.inference_mode(inference):
        text = torch.randn(4, 3, 2)
        held = HeldText(text)
        assert held.is_same(text)
        text[1] *= 2
        assert not held.is_same(text)


def test_written_through_a_view_or_its_base() -> None:
    base = torch.randn(4, 3, 2)
    held = HeldText(base[:2])
    base[1, 0, 0] = 7
    assert not held.is_same(base[:2])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.sampled_from([1, 7, 400]))
def test_distinct_rows_give_the_text_back(kinds: list[int], length: int) -> None:
    texts = torch.randn(4, length, 2, generator=torch.Generator().manual_seed(0))
    text = texts[kinds]
    rows, places = distinct_rows(text)
    assert torch.equal(text[rows][places], text)
    assert len(rows) == len(set(kinds))


def test_rows_that_differ_where_nobody_probed() -> None:
    text = torch.zeros(3, 100, 64)
    text[1, 50, 33] = 1
    rows, places = distinct_rows(text)
    assert (rows, places) == ([0, 1], [0, 1, 0])


def test_nan_equals_nothing() -> None:
    text = torch.full((2, 3, 2), torch.nan)
    assert distinct_rows(text) == ([0, 1], [0, 1])
