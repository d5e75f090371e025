"""Unknown words and what is cut off, found in what a tokenizer makes of prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from dit_accel import DitAccelError
from dit_accel.sampling.loading import load_tokenizer, pipeline_folder
from dit_accel.sampling.prompt_check import (
    Finding,
    check_prompts,
    describe_findings,
    prompt_warnings,
)

PHOTOS = load_tokenizer(pipeline_folder("pixart-photos"))
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def pieces() -> PreTrainedTokenizerFast:
    """A tokenizer as T5's: any Latin word out of pieces, with an unknown token for other signs."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -3.0), ("▁the", -1.0)]
    vocabulary += [(letter, -5.0) for letter in [*LETTERS, *".,'!-"]]
    vocabulary += [(f"▁filler{number}", -8.0) for number in range(100)]
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


class WithoutSpans:
    """The shipped tokenizer as one of those that are written in Python."""

    is_fast = False
    unk_token_id = PHOTOS.unk_token_id
    decode = staticmethod(PHOTOS.decode)
    num_special_tokens_to_add = staticmethod(PHOTOS.num_special_tokens_to_add)

    def __call__(self, texts: list[str], **options: Any) -> Any:
        assert "return_offsets_mapping" not in options
        return PHOTOS(texts, **options)


def unknown(tokenizer: Any, *prompts: str) -> list[tuple[int, tuple[str, ...]]]:
    return [(f.number, f.unknown) for f in check_prompts(tokenizer, prompts, 10**6) if f.unknown]


def test_prompts_of_known_words_have_no_findings() -> None:
    prompts = ["", "a close view of the upper left of the ASTRONAUT photograph, mirrored", " a\n"]
    assert check_prompts(PHOTOS, prompts, 24) == []
    assert describe_findings([], PHOTOS, 24) == []


def test_unknown_words_are_named_with_their_prompts() -> None:
    found = unknown(PHOTOS, "the cat", "a Zebra riding a zebra", "a cat", "🚀 of the 月/zebra")
    assert found == [(2, ("zebra", "riding")), (4, ("🚀", "月", "/", "zebra"))]


def test_a_prompt_that_is_there_again_is_reported_once() -> None:
    assert unknown(PHOTOS, "a cat", "zebra", "a", "zebra") == [(2, ("zebra",))]


def test_what_is_cut_begins_at_the_first_lost_token() -> None:
    (found,) = check_prompts(PHOTOS, ["a", "The cat, THE whole   Rocket"], max_tokens=5)
    assert found == Finding(number=2, unknown=(), tokens=7, cut="whole   rocket")
    assert check_prompts(PHOTOS, ["the cat, the whole rocket"], max_tokens=7) == []


@given(
    st.lists(st.sampled_from(["cat", "the", "zebra", "🚀", ",", "…", "Rocket's"]), max_size=40),
    st.integers(2, 30),
)
def test_what_is_kept_are_the_pipelines_tokens(words: list[str], limit: int) -> None:
    text = " ".join(words)
    kept = PHOTOS(text.lower(), truncation=True, max_length=limit)["input_ids"]
    found = check_prompts(PHOTOS, [text], limit)
    cut = found[0].cut if found else ""
    assert text.lower().endswith(cut)
    assert PHOTOS(text.lower().removesuffix(cut))["input_ids"] == kept
    whole = PHOTOS(text.lower(), verbose=False)["input_ids"]
    assert bool(found and found[0].unknown) == (PHOTOS.unk_token_id in whole)


@pytest.mark.parametrize("text", ["The quick brown fox's tail, don't!", "a well-known cat", ""])
def test_pieces_of_words_know_ordinary_texts(text: str) -> None:
    assert check_prompts(pieces(), [text], 120) == []


def test_words_are_named_and_not_their_pieces() -> None:
    found = unknown(pieces(), "the na月ve fox", "the fox", "🚀🚀 the 月 moon🚀")
    assert found == [(1, ("na月ve",)), (3, ("🚀🚀", "月", "🚀"))]


def test_pieces_of_words_are_neither_listed_nor_proposed() -> None:
    tokenizer = pieces()
    (line,) = describe_findings(check_prompts(tokenizer, ["the 月"], 120), tokenizer, 120)
    assert line == "words unknown to this model's tokenizer carry no meaning: prompt 1: '月'"


def test_tokenizers_without_spans_know_words_too() -> None:
    tokenizer = WithoutSpans()
    assert unknown(tokenizer, "a zebra on the cat") == [(1, ("zebra", "on"))]
    (found,) = check_prompts(tokenizer, ["the cat the whole rocket"], max_tokens=4)
    assert (found.tokens, found.cut) == (6, "whole rocket")


def test_without_an_unknown_token_all_words_are_known() -> None:
    tokenizer = WithoutSpans()
    tokenizer.unk_token_id = None
    assert unknown(tokenizer, "a zebra") == []


def test_the_folder_is_enough() -> None:
    folder = pipeline_folder("pixart-photos")
    words, cut = prompt_warnings(folder, ["a catt", "the cat " * 13, ""])
    assert "prompt 1: 'catt' (did you mean 'cat'?); known words: a, all, astronaut" in words
    assert words.endswith(", view, whole, wide")
    assert cut == (
        "prompts are cut after 24 tokens, the most that this model reads: prompt 2 (27 tokens) "
        "loses 'cat the cat'"
    )
    assert prompt_warnings(folder, ["the cat"]) == []


def test_labels_need_no_tokenizer(tiny_pipeline: Path) -> None:
    assert prompt_warnings(tiny_pipeline, ()) == []
    with pytest.raises(DitAccelError, match="no tokenizer"):
        prompt_warnings(tiny_pipeline, ("a cat",))


def test_long_lists_are_counted_not_listed() -> None:
    prompts = [f"w{number} {'a ' * 30}" for number in range(1000)]
    words, cut = describe_findings(check_prompts(PHOTOS, prompts, 24), PHOTOS, 24)
    for line in (words, cut):
        assert "prompt 3" in line and "prompt 4" not in line and "; and 997 more prompts" in line
        assert len(line) < 1000
    many = " ".join(f"w{number}" for number in range(100))
    (line,) = describe_findings(check_prompts(PHOTOS, [many], 200), PHOTOS, 200)
    assert "'w7' and 92 more; known words" in line


def test_what_a_terminal_would_obey_is_quoted() -> None:
    found = check_prompts(PHOTOS, ["a \x1b[31m cat", "a " * 24 + "\x1b]0;"], 24)
    lines = describe_findings(found, PHOTOS, 24)
    assert all(line.isprintable() for line in lines) and r"'\x1b'" in lines[0]
