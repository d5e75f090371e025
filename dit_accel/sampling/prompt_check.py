"""What a tokenizer makes of prompts that their writer would want to know: nothing, or half of them.

Neither is refused: published prompt lists hold emoji and texts of any length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dit_accel.errors import did_you_mean
from dit_accel.measure.architectures import load_architecture
from dit_accel.sampling.loading import load_tokenizer

_PROMPTS_SHOWN = 3
_WORDS_SHOWN = 8
_LETTERS_SHOWN = 60
_SMALL_VOCABULARY = 100


@dataclass(frozen=True)
class Finding:
    """What is lost of one prompt.

    Attributes:
        number: of the prompt in its list, from 1; where it stands first, if it is there again.
        unknown: words without a token of their own or of their parts, in lower case.
        tokens: of the whole prompt, the special ones included.
        cut: what lies beyond the last token that is read, in lower case; mostly nothing.
    """

    number: int
    unknown: tuple[str, ...]
    tokens: int
    cut: str


def prompt_warnings(folder: Path, prompts: Sequence[str]) -> list[str]:
    """Say in a line each which words of a list are unknown to a pipeline, and what it cuts off.

    Args:
        folder: of a text-conditional pipeline, of which the tokenizer alone is loaded.
        prompts: of a set; none for class-conditional pipelines.

    Returns:
        One line for all unknown words, one for all that is cut off; mostly neither.

    Raises:
        DitAccelError: the pipeline has no tokenizer.
    """
    if not prompts:
        return []
    tokenizer, limit = load_tokenizer(folder), load_architecture(folder).default_text_tokens
    return describe_findings(check_prompts(tokenizer, prompts, limit), tokenizer, limit)


def check_prompts(tokenizer: Any, prompts: Sequence[str], max_tokens: int) -> list[Finding]:
    """Find the prompts of a list of which something is lost.

    Args:
        tokenizer: of transformers; without an unknown token, it knows all words.
        prompts: the list; what is there again is reported once.
        max_tokens: where prompts are cut, the special tokens included.
    """
    numbers = {prompt: number for number, prompt in reversed(list(enumerate(prompts, start=1)))}
    # As PixArt's pipelines hand them to their tokenizers.
    texts = {prompt: prompt.lower().strip() for prompt in sorted(numbers, key=numbers.__getitem__)}
    special = tokenizer.num_special_tokens_to_add()
    findings = [
        Finding(
            number=numbers[prompt],
            unknown=tuple(dict.fromkeys(read.unknown_words())),
            tokens=len(read.ids) + special,
            cut=read.beyond(max_tokens - special),
        )
        for prompt, read in zip(texts, _read(tokenizer, list(texts.values())), strict=True)
    ]
    return [finding for finding in findings if finding.unknown or finding.cut]


@dataclass(frozen=True)
class _Reading:
    """A text with its tokens, without special ones; spans where the tokenizer gives them."""

    tokenizer: Any
    text: str
    ids: Sequence[int]
    spans: Sequence[tuple[int, int]] | None

    def unknown_words(self) -> Iterator[str]:
        unknown = self.tokenizer.unk_token_id
        if unknown not in self.ids:
            return
        if self.spans is None:
            for word in self.text.split():
                if unknown in _ids(self.tokenizer, [word])[0]:
                    yield word
            return
        for token, span in zip(self.ids, self.spans, strict=True):
            if token == unknown and (word := self._word(*span)):
                yield word

    def beyond(self, count: int) -> str:
        """The text from token ``count`` on."""
        if len(self.ids) <= count:
            return ""
        if self.spans is None:
            return str(self.tokenizer.decode(self.ids[count:])).strip()
        return self.text[self.spans[count][0] :].strip()

    def _word(self, start: int, end: int) -> str:
        """The whole word of which a token may be a piece; a sign that is no letter by itself."""
        while start < end and self.text[start].isspace():
            start += 1
        if self.text[start:end][:1].isalnum():
            while start > 0 and self.text[start - 1].isalnum():
                start -= 1
        if self.text[start:end][-1:].isalnum():
            while end < len(self.text) and self.text[end].isalnum():
                end += 1
        return self.text[start:end].strip()


def _read(tokenizer: Any, texts: list[str]) -> Iterator[_Reading]:
    if not tokenizer.is_fast:  # these know nothing of spans
        for text, ids in zip(texts, _ids(tokenizer, texts), strict=True):
            yield _Reading(tokenizer, text, ids, None)
        return
    read = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    for text, ids, spans in zip(texts, read["input_ids"], read["offset_mapping"], strict=True):
        yield _Reading(tokenizer, text, ids, spans)


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    # Not verbose: it would complain of long texts, which are being looked for.
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def describe_findings(findings: Sequence[Finding], tokenizer: Any, max_tokens: int) -> list[str]:
    """Word the findings of a list: a line on unknown words, a line on what is cut, if any.

    Args:
        findings: of ``check_prompts``; the first few are named, the others counted.
        tokenizer: whose vocabulary is listed and searched for what was meant, if it is small.
        max_tokens: as ``check_prompts`` was told.
    """
    unknown = [finding for finding in findings if finding.unknown]
    cut = [finding for finding in findings if finding.cut]
    lines = []
    if unknown:
        known = _small_vocabulary(tokenizer)
        parts = [f"prompt {f.number}: {_listed(f.unknown, known)}" for f in _first(unknown)]
        what = "words unknown to this model's tokenizer carry no meaning"
        listed = f"; known words: {', '.join(known)}" if known else ""
        lines.append(f"{what}: {_joined(parts, len(unknown))}{listed}")
    if cut:
        parts = [
            f"prompt {f.number} ({f.tokens} tokens) loses {_quoted(f.cut)}" for f in _first(cut)
        ]
        what = f"prompts are cut after {max_tokens} tokens, the most that this model reads"
        lines.append(f"{what}: {_joined(parts, len(cut))}")
    return lines


def _small_vocabulary(tokenizer: Any) -> list[str]:
    """All words of a tokenizer that has few; a large one's pieces of words would help nobody."""
    words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    return sorted(filter(str.isalnum, words)) if len(words) <= _SMALL_VOCABULARY else []


def _listed(words: Sequence[str], known: Sequence[str]) -> str:
    parts = []
    for word in words[:_WORDS_SHOWN]:
        meant = did_you_mean(word, known).strip()
        parts.append(f"{_quoted(word)} ({meant})" if meant else _quoted(word))
    more = len(words) - len(parts)
    return ", ".join(parts) + (f" and {more} more" if more else "")


def _first(findings: Sequence[Finding]) -> Sequence[Finding]:
    return findings[:_PROMPTS_SHOWN]


def _joined(parts: Sequence[str], count: int) -> str:
    more = count - len(parts)
    others = f"; and {more} more prompt{'s' * (more > 1)}" if more else ""
    return "; ".join(parts) + others


def _quoted(text: str) -> str:
    # repr: prompts may hold what a terminal would obey.
    return repr(text if len(text) <= _LETTERS_SHOWN else text[: _LETTERS_SHOWN - 1] + "…")
