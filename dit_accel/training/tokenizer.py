"""The word-level tokenizer of the captions, in transformers' fast format."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from .captions import WORD_PATTERN, vocabulary

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"


def build_tokenizer(max_tokens: int) -> PreTrainedTokenizerFast:
    """One token a word, an end token as T5 has it, and one token for all unknown words."""
    entries = (PAD, END, UNKNOWN, *vocabulary())
    numbers = {entry: number for number, entry in enumerate(entries)}
    tokenizer = Tokenizer(WordLevel(numbers, unk_token=UNKNOWN))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Split(Regex(WORD_PATTERN), behavior="removed", invert=True)
    tokenizer.post_processor = TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, numbers[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        model_max_length=max_tokens,
    )
