"""Texts on the trained text-to-image pipeline: cached, negative, given as embeddings, odd ones.

Embeddings are compared rather than pictures, so that nothing here rests on what the pipeline has
learned.
"""

import copy
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

PROMPT = "a close view of the upper left of the astronaut photograph"
OTHER = "a photograph of a cat"
LENGTH = 24
ODD_PROMPTS = [
    "",
    "a/b\\c",
    'it\'s a "cat"',
    "🚀 of the moon",
    "  ",
    "zebra\ncrossing",
    OTHER,
    OTHER,
]

Rows = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def rows(our_photos: Any) -> Iterator[Callable[..., Rows]]:
    """Run one step; return the embeddings and masks that the transformer was given."""
    calls: list[Rows] = []
    handle = our_photos.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(
            (kwargs["encoder_hidden_states"], kwargs["encoder_attention_mask"])
        ),
        with_kwargs=True,
    )

    def rows(prompt: str | list[str] | None = None, **arguments: Any) -> Rows:
        our_photos(
            prompt,
            num_inference_steps=1,
            use_resolution_binning=False,
            clean_caption=False,
            output_type="latent",
            max_sequence_length=LENGTH,
            height=16,
            width=16,
            **arguments,
        )
        return calls.pop()

    yield rows
    handle.remove()


@pytest.fixture
def encode(our_photos: Any) -> Callable[..., tuple[torch.Tensor, ...]]:
    """What the stock pipeline's ``encode_prompt`` gives, without a cache."""

    @torch.no_grad()
    def encode(prompt: str | list[str], **arguments: Any) -> tuple[torch.Tensor, ...]:
        return our_photos.encode_prompt(prompt, max_sequence_length=LENGTH, **arguments)

    return encode


@pytest.fixture
def own_encoder(our_photos: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A text encoder that a test may change."""
    encoder = copy.deepcopy(our_photos.text_encoder)
    monkeypatch.setattr(our_photos, "text_encoder", encoder)
    return encoder


@pytest.fixture
def warnings_of_diffusers(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Diffusers' loggers do not propagate to where pytest listens."""
    logger = logging.getLogger("diffusers")
    # A command that ran before in this process may have silenced them.
    caplog.set_level(logging.WARNING, logger="diffusers")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def equal(left: tuple[torch.Tensor, ...], right: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(*pair) for pair in zip(left, right, strict=True))


def guidance(encoded: tuple[torch.Tensor, ...]) -> Rows:
    embeds, mask, negative, negative_mask = encoded
    return torch.cat([negative, embeds]), torch.cat([negative_mask, mask])


def test_cached_embeddings_equal_recomputed_ones(
    our_photos: Any, rows: Any, encode: Any, count_calls: Any
) -> None:
    expected = guidance(encode(PROMPT))
    calls = count_calls(our_photos.text_encoder, "forward")
    assert equal(rows(PROMPT), expected)
    assert len(calls) == 2
    assert equal(rows(PROMPT), expected)
    assert len(calls) == 2
    rows(OTHER)
    assert len(calls) == 4
    assert equal(rows(PROMPT), expected)
    assert len(calls) == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda encoder: torch.nn.init.normal_(encoder.shared.weight),
        lambda encoder: encoder.shared.weight.data.mul_(2),
        lambda encoder: encoder.to(torch.bfloat16).to(torch.float32),
        lambda encoder: encoder.load_state_dict(
            {name: weight.neg() for name, weight in encoder.state_dict().items()}, assign=True
        ),
    ],
    ids=["written to", "written to by .data", "there and back", "assigned"],
)
def test_changed_weights_are_never_served_stale(
    rows: Any, encode: Any, own_encoder: Any, change: Callable[[Any], Any]
) -> None:
    before = rows(PROMPT)
    change(own_encoder)
    after = rows(PROMPT)
    assert not equal(before, after)
    assert equal(after, guidance(encode(PROMPT)))


def test_weights_moved_and_back_serve_the_same(rows: Any, own_encoder: Any) -> None:
    before = rows(PROMPT)
    own_encoder.to(torch.float64).to(torch.float32)  # loses nothing
    assert equal(rows(PROMPT), before)


def test_negative_prompts(rows: Any, encode: Any) -> None:
    """One for all, one a prompt; None is the empty text."""
    prompts = [PROMPT, OTHER]
    for_all = guidance(encode(prompts, negative_prompt="a cat"))
    assert equal(rows(prompts, negative_prompt="a cat"), for_all)
    each = guidance(encode(prompts, negative_prompt=["a cat", "the moon"]))
    assert equal(rows(prompts, negative_prompt=["a cat", "the moon"]), each)
    assert equal(rows(prompts, negative_prompt=("a cat", "the moon")), each)
    empty = guidance(encode(prompts, negative_prompt=""))
    assert equal(rows(prompts, negative_prompt=None), empty)
    assert equal(rows(prompts), empty)


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("guidance_scale", [1.0, 4.5])
def test_given_embeddings_equal_the_prompts_own(
    our_photos: Any, draw: Any, encode: Any, generators: Any, guidance_scale: float, images: int
) -> None:
    """To the bit in the picture too, with a negative prompt and several pictures a prompt."""
    arguments: dict[str, Any] = {
        "guidance_scale": guidance_scale, "num_images_per_prompt": images,
        "num_inference_steps": 1, "height": 64, "width": 64,
    }  # fmt: skip
    embeds, mask, negative, negative_mask = encode(PROMPT, negative_prompt="a cat")
    given = draw(
        our_photos,
        prompt_embeds=embeds,
        prompt_attention_mask=mask,
        negative_prompt=None,
        negative_prompt_embeds=negative,
        negative_prompt_attention_mask=negative_mask,
        generator=generators(*range(images)),
        **arguments,
    )
    assert len(our_photos.text_embedding_cache) == 0
    prompted = draw(
        our_photos,
        PROMPT,
        negative_prompt="a cat",
        generator=generators(*range(images)),
        **arguments,
    )
    assert torch.equal(given, prompted)


def test_given_embeddings_beside_a_negative_prompt(rows: Any, encode: Any) -> None:
    embeds, mask, *_ = encode([PROMPT, OTHER])
    expected = guidance(encode([PROMPT, OTHER], negative_prompt="a cat"))
    given = rows(prompt_embeds=embeds, prompt_attention_mask=mask, negative_prompt="a cat")
    assert equal(given, expected)


def test_embeddings_without_a_text_encoder(
    our_photos: Any, rows: Any, encode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeds, mask, negative, negative_mask = encode(PROMPT)
    monkeypatch.setattr(our_photos, "text_encoder", None)
    monkeypatch.setattr(our_photos, "tokenizer", None)
    given = rows(
        prompt_embeds=embeds,
        prompt_attention_mask=mask,
        negative_prompt_embeds=negative,
        negative_prompt_attention_mask=negative_mask,
    )
    assert equal(given, guidance((embeds, mask, negative, negative_mask)))
    with pytest.raises(ValueError, match="no text encoder"):
        rows(prompt_embeds=embeds, prompt_attention_mask=mask)


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("prompt_attention_mask", "Must provide `prompt_attention_mask`"),
        ("negative_prompt_attention_mask", "Must provide `negative_prompt_attention_mask`"),
    ],
)
def test_embeddings_without_their_mask_are_refused(
    rows: Any, encode: Any, left_out: str, message: str
) -> None:
    embeds, mask, negative, negative_mask = encode(PROMPT)
    arguments = {
        "prompt_embeds": embeds,
        "prompt_attention_mask": mask,
        "negative_prompt_embeds": negative,
        "negative_prompt_attention_mask": negative_mask,
    }
    with pytest.raises(ValueError, match=message):
        rows(**{**arguments, left_out: None})


def test_odd_prompts_are_prompts(rows: Any, encode: Any, stock_photos: Any) -> None:
    """Empty, slashes, quotes, emoji, spaces, a line break, words that are not known, duplicates."""
    embeds, mask = rows(ODD_PROMPTS)
    assert equal((embeds, mask), guidance(encode(ODD_PROMPTS)))
    with torch.no_grad():
        stock = stock_photos.encode_prompt(ODD_PROMPTS, max_sequence_length=LENGTH)
    assert equal((embeds, mask), guidance(stock))
    assert embeds.isfinite().all()
    assert (mask.sum(dim=1) >= 1).all()  # the end of the text, at least
    assert torch.equal(embeds[-1], embeds[-2])  # duplicates


def test_an_over_long_prompt_is_cut_and_says_so(
    rows: Any, encode: Any, warnings_of_diffusers: pytest.LogCaptureFixture
) -> None:
    words = (PROMPT.split() * 4)[: LENGTH + 6]
    cut = rows(" ".join(words))
    warning = next(r.getMessage() for r in warnings_of_diffusers.records if "trunc" in r.message)
    assert "up to 24 tokens" in warning
    assert words[-1] in warning
    warnings_of_diffusers.clear()
    kept = encode(" ".join(words[: LENGTH - 1]))  # one token is the end of the text
    assert equal(cut, guidance(kept))
    assert not [r for r in warnings_of_diffusers.records if "trunc" in r.message]
