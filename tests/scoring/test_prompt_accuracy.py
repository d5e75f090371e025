"""What the judge counts as following a prompt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import Tensor

from dit_accel.scoring.prompt_accuracy import Accuracy, judge, seen
from dit_accel.training.captions import (
    PHOTOGRAPHS,
    Description,
    Nearness,
    Part,
    caption,
    describe,
    read_caption,
)


def heads_of(*crops: tuple[int, float, float, float, bool]) -> dict[str, Tensor]:
    """What perfect heads say of crops: photograph, x, y, side, mirrored."""
    photographs = torch.tensor([crop[0] for crop in crops])
    return {
        "photograph": torch.nn.functional.one_hot(photographs, len(PHOTOGRAPHS)).float(),
        "centre": torch.tensor([crop[1:3] for crop in crops], dtype=torch.float64),
        "side": torch.tensor([crop[3] for crop in crops], dtype=torch.float64),
        "mirrored": torch.tensor([3.0 if crop[4] else -3.0 for crop in crops]),
    }


crops = st.tuples(
    st.integers(0, len(PHOTOGRAPHS) - 1),
    st.floats(0.3, 0.7),
    st.floats(0.3, 0.7),
    st.floats(0.6, 1.0),
    st.booleans(),
)


@given(st.lists(crops, min_size=1, max_size=5), st.integers(0, 2**31))
def test_pictures_follow_any_wording_of_what_they_show(
    shown: list[tuple[int, float, float, float, bool]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    texts = [caption(describe(photo, (x, y, s), m), rng) for photo, x, y, s, m in shown]
    found = judge(heads_of(*shown), [read_caption(text) for text in texts])
    assert found == {
        name: Accuracy(len(shown), len(shown))
        for name in ("photograph", "part", "nearness", "mirrored")
    }


def test_every_attribute_is_judged_for_itself() -> None:
    heads = heads_of((0, 0.3, 0.3, 0.7, False), (1, 0.5, 0.5, 0.95, True))
    asked = [
        Description(PHOTOGRAPHS[0], Part.LOWER_RIGHT, Nearness.CLOSE, mirrored=True),
        Description(PHOTOGRAPHS[0], Part.WHOLE, Nearness.MEDIUM, mirrored=True),
    ]
    found = judge(heads, asked)
    assert found == {name: Accuracy(1, 2) for name in found}
    assert list(found) == ["photograph", "part", "nearness", "mirrored"]


def test_what_a_prompt_leaves_open_is_not_counted() -> None:
    heads = heads_of((4, 0.3, 0.3, 0.7, False), (5, 0.5, 0.5, 0.95, False))
    asked = [read_caption("the clock"), read_caption("a distant view of the coffee, mirrored")]
    found = judge(heads, asked)
    assert found == {
        "photograph": Accuracy(2, 2),
        "nearness": Accuracy(1, 1),
        "mirrored": Accuracy(1, 2),
    }


@pytest.mark.parametrize("text", ["", "a wide street", "the upper left of the dog", "cat, coins"])
def test_prompts_that_name_no_photograph_ask_for_nothing(text: str) -> None:
    assert judge(heads_of((0, 0.3, 0.3, 0.7, True)), [read_caption(text)]) == {}


def test_the_heads_are_put_into_the_words_of_captions() -> None:
    [description] = seen(heads_of((7, 0.6, 0.4, 0.8, True)))
    assert description == Description("flower", Part.UPPER_RIGHT, Nearness.MEDIUM, mirrored=True)


def test_the_interval_is_wilsons() -> None:
    accuracy = Accuracy(218, 256)
    assert accuracy.share == 218 / 256
    expected = binomtest(218, 256).proportion_ci(method="wilson")
    interval = accuracy.interval
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
