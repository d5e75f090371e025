import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn

from dit_accel.pipelines.text_embeddings import TextEmbeddingCache, TextEmbeddings


class Tokenizer:
    """Stands for any tokenizer: only its identity matters."""


@pytest.fixture
def encoder():
    return nn.Linear(2, 2).eval()


@pytest.fixture
def look_up(encoder):
    """Look a key up in a cache; count the encodings."""
    cache, tokenizer, calls = TextEmbeddingCache(max_entries=2), Tokenizer(), []

    def look_up(key, text_encoder=encoder, tokenizer=tokenizer):
        def encode():
            calls.append(key)
            return TextEmbeddings(torch.full((1, 3, 2), float(len(calls))), torch.ones(1, 3),
                                  None, None)  # fmt: skip

        return cache.lookup(key, text_encoder, tokenizer, encode)

    look_up.cache, look_up.calls = cache, calls
    return look_up


def test_hit_is_equal_and_shares_no_memory(look_up):
    first, second = look_up("a"), look_up("a")
    assert look_up.calls == ["a"]
    assert torch.equal(first.prompt_embeds, second.prompt_embeds)
    first.prompt_embeds.zero_()
    second.prompt_embeds.zero_()
    assert look_up("a").prompt_embeds.unique().tolist() == [1.0]


def test_least_recently_used_entry_goes_first(look_up):
    for key in ["a", "b", "a", "c"]:
        look_up(key)
    assert len(look_up.cache) == 2
    look_up("a")
    assert look_up.calls == ["a", "b", "c"]
    look_up("b")
    assert look_up.calls == ["a", "b", "c", "b"]


@pytest.mark.parametrize(
    "change",
    [
        lambda encoder: encoder.to(torch.float64),
        lambda encoder: encoder.load_state_dict(nn.Linear(2, 2).state_dict()),
        lambda encoder: encoder.add_module("lora_A", nn.Linear(2, 2)),
        lambda encoder: nn.init.zeros_(encoder.bias),
        lambda encoder: encoder.to(torch.bfloat16).to(torch.float32),
        lambda encoder: encoder.load_state_dict(nn.Linear(2, 2).state_dict(), assign=True),
        lambda encoder: encoder.weight.data.mul_(2),
    ],
)
def test_changed_weights_empty_the_cache(look_up, encoder, change):
    look_up("a")
    change(encoder)
    look_up("a")
    assert look_up.calls == ["a", "a"]


def test_another_encoder_or_tokenizer_empties_the_cache(look_up):
    look_up("a")
    twin = nn.Linear(2, 2).eval()
    look_up("a", text_encoder=twin)
    look_up("a", text_encoder=twin, tokenizer=Tokenizer())
    assert len(look_up.calls) == 3
    assert len(look_up.cache) == 1


def test_the_cache_keeps_no_encoder_alive(look_up):
    other = nn.Linear(2, 2).eval()
    watched = weakref.ref(other)
    look_up("a", text_encoder=other)
    del other
    gc.collect()
    assert watched() is None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda cache: pickle.loads(pickle.dumps(cache))])
def test_a_copy_starts_empty(look_up, copied):
    look_up("a")
    twin = copied(look_up.cache)
    assert (len(twin), twin.max_entries) == (0, 2)
    assert len(look_up.cache) == 1


def test_offloaded_weights_are_told_by_name(look_up):
    """Sequential offload leaves new parameters without values after each call."""
    offloaded = nn.Linear(2, 2, bias=False).eval()
    for _ in range(2):
        offloaded.weight = nn.Parameter(torch.empty(2, 2, device="meta"))
        look_up("a", text_encoder=offloaded)
    assert look_up.calls == ["a"]


def test_training_mode_bypasses_the_cache(look_up, encoder):
    encoder.train()
    look_up("a")
    look_up("a")
    assert look_up.calls == ["a", "a"]
    assert len(look_up.cache) == 0


def test_bytes_are_reported_and_cleared(look_up):
    look_up("a")
    assert look_up.cache.nbytes == (1 * 3 * 2 + 1 * 3) * 4
    look_up.cache.clear()
    assert (len(look_up.cache), look_up.cache.nbytes) == (0, 0)
