"""The captions' tokenizer: whole words, an end, and one token for whatever it does not know."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from dit_accel.training.captions import (
    PHOTOGRAPHS,
    Description,
    Nearness,
    Part,
    caption,
    vocabulary,
    words,
)
from dit_accel.training.text_encoder import tokenize
from dit_accel.training.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer(24)


def tokens(text: str) -> list[str]:
    return TOKENIZER.convert_ids_to_tokens(TOKENIZER(text).input_ids)


@given(
    st.sampled_from(PHOTOGRAPHS),
    st.none() | st.sampled_from(Part),
    st.none() | st.sampled_from(Nearness),
    st.booleans(),
    st.integers(0, 99),
)
def test_captions_are_divided_into_their_words(photograph, part, nearness, mirrored, seed):
    text = caption(Description(photograph, part, nearness, mirrored), np.random.default_rng(seed))
    assert tokens(text) == [*words(text), "</s>"]


@given(st.text(string.printable))
def test_any_ascii_text_is_divided_as_captions_are(text):
    known = set(vocabulary())
    wanted = [word if word in known else "<unk>" for word in words(text)]
    assert tokens(text) == [*wanted, "</s>"]


def test_unknown_words_are_one_token_each():
    wanted = ["the", "<unk>", "<unk>", "<unk>", "of", "the", "cat", "</s>"]
    assert tokens("The striped ZEBRA 🦓 of the Cat") == wanted


def test_the_empty_text_is_its_end_alone():
    ids, mask = tokenize(TOKENIZER, [""], 5)
    assert ids.tolist() == [[1, 0, 0, 0, 0]]  # </s> and <pad>, as in T5
    assert mask.tolist() == [[1, 0, 0, 0, 0]]


def test_a_long_text_is_cut_and_still_ends():
    ids, mask = tokenize(TOKENIZER, ["the cat " * 40], 24)
    assert ids.shape == (1, 24) and mask.all()
    assert ids[0, -1] == TOKENIZER.eos_token_id


@pytest.mark.parametrize("text", ["a near view of the cat, mirrored", "", "zebra, LEFT of Cat"])
def test_it_survives_the_fast_format(tmp_path, text):
    TOKENIZER.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.is_fast and again.model_max_length == 24
    assert again(text).input_ids == TOKENIZER(text).input_ids
    assert again.get_vocab() == TOKENIZER.get_vocab()
    assert (again.pad_token, again.eos_token, again.unk_token) == ("<pad>", "</s>", "<unk>")


def test_the_longest_caption_fits_into_a_prompt_of_the_reference():
    longest = "a close up of the bottom middle part of the astronaut photograph, mirrored"
    assert len(tokens(longest)) <= 24
