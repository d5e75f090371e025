"""What a caption says can be read back from it, and is what the crop shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dit_accel.training.captions import (
    PHOTOGRAPHS,
    Description,
    Nearness,
    Part,
    caption,
    describe,
    nearness_of,
    part_of,
    read_caption,
    training_caption,
    vocabulary,
    words,
)

descriptions = st.builds(
    Description,
    photograph=st.sampled_from(PHOTOGRAPHS),
    part=st.sampled_from(Part),
    nearness=st.sampled_from(Nearness),
    mirrored=st.booleans(),
)
open_descriptions = st.builds(
    Description,
    photograph=st.sampled_from(PHOTOGRAPHS),
    part=st.none() | st.sampled_from(Part),
    nearness=st.none() | st.sampled_from(Nearness),
    mirrored=st.booleans(),
)
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(open_descriptions, generators)
def test_a_caption_says_its_description_and_nothing_else(description, rng):
    assert read_caption(caption(description, rng)) == description


@given(descriptions, generators)
def test_a_training_caption_says_nothing_wrong(description, rng):
    said = read_caption(training_caption(description, rng))
    assert (said.photograph, said.mirrored) == (description.photograph, description.mirrored)
    assert said.part in (description.part, None)
    assert said.nearness in (description.nearness, None)


def test_training_captions_leave_things_open_as_often_as_they_should():
    rng = np.random.default_rng(0)
    description = Description("cat", Part.LEFT, Nearness.FAR, False)
    said = [read_caption(training_caption(description, rng)) for _ in range(3000)]
    assert np.mean([one.part is None for one in said]) == pytest.approx(0.1, abs=0.02)
    assert np.mean([one.nearness is None for one in said]) == pytest.approx(0.2, abs=0.03)


def test_the_vocabulary_is_that_of_all_captions():
    rng = np.random.default_rng(0)
    spoken = {
        word
        for photograph in PHOTOGRAPHS
        for part in (*Part, None)
        for nearness in (*Nearness, None)
        for mirrored in (True, False)
        for word in words(caption(Description(photograph, part, nearness, mirrored), rng))
    }
    assert vocabulary() == sorted(spoken)


@pytest.mark.parametrize(
    ("x", "y", "side", "part"),
    [
        (0.45, 0.45, 0.7, "upper left"),
        (0.47, 0.45, 0.7, "upper middle"),
        (0.55, 0.45, 0.7, "upper right"),
        (0.45, 0.53, 0.7, "left"),
        (0.53, 0.47, 0.7, "centre"),
        (0.55, 0.50, 0.7, "right"),
        (0.30, 0.70, 0.7, "lower left"),
        (0.50, 0.70, 0.7, "lower middle"),
        (0.70, 0.70, 0.7, "lower right"),
        (0.50, 0.50, 0.84, "centre"),
        (0.50, 0.50, 0.85, "whole"),
        (0.45, 0.50, 0.85, "left"),  # a wide photograph
    ],
)
def test_the_part_goes_by_the_centre_and_the_whole_by_the_side(x, y, side, part):
    assert part_of(x, y, side).value == part


@pytest.mark.parametrize(
    ("side", "nearness"),
    [(0.6, "close"), (0.749, "close"), (0.75, "medium"), (0.899, "medium"), (0.9, "far")],
)
def test_nearness_goes_by_the_side(side, nearness):
    assert nearness_of(side).value == nearness


def test_describe_says_all_of_it():
    description = describe(3, (0.2, 0.8, 0.65), True)
    assert description == Description("cat", Part.LOWER_LEFT, Nearness.CLOSE, True)


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("", Description(None, None, None, False)),
        ("A WIDE view, of Rocket!", Description("rocket", None, Nearness.FAR, False)),
        ("the cat on the moon, flipped", Description("cat", None, None, True)),
        ("a cat beside a clock", Description(None, None, None, False)),
        ("the left and right of the cat", Description("cat", None, None, False)),
        ("the top and the bottom left of it", Description(None, None, None, False)),
        ("the cat, near or far", Description("cat", None, None, False)),
        ("bottom, cameras", Description(None, Part.LOWER_MIDDLE, None, False)),
    ],
)
def test_any_text_is_read_by_the_words_it_contains(text, description):
    assert read_caption(text) == description
