"""A small, exact cache of text embeddings, so that repeated prompts skip the text encoder."""

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch
from torch import nn

# Of each parameter: an edit that misses all of them by chance touches few of its values.
VALUES_COMPARED = 16


class TextEmbeddings(NamedTuple):
    """What ``encode_prompt`` returns: embeddings ``[B, L, D]`` and masks ``[B, L]``.

    The negative pair is None without guidance.
    """

    prompt_embeds: torch.Tensor
    prompt_attention_mask: torch.Tensor
    negative_prompt_embeds: torch.Tensor | None
    negative_prompt_attention_mask: torch.Tensor | None

    def clone(self) -> "TextEmbeddings":
        """A copy that shares no memory with this one."""
        negative, mask = self.negative_prompt_embeds, self.negative_prompt_attention_mask
        return TextEmbeddings(
            self.prompt_embeds.clone(),
            self.prompt_attention_mask.clone(),
            None if negative is None else negative.clone(),
            None if mask is None else mask.clone(),
        )


class TextEmbeddingCache:
    """Least-recently-used cache of whole ``encode_prompt`` results.

    Exact: an entry is one call (the whole prompt list), because the rounding of a matrix product
    may depend on the batch it is computed in. It forgets everything when the encoder or tokenizer
    is another object, or the encoder's weights have other names, types or values (a few values of
    each weight are looked at). Changes that leave no such trace, like switching an adapter on, need
    ``clear()``. Copies and pickles of a cache start empty.

    Args:
        max_entries: calls remembered; one of PixArt's with 300 tokens, guidance and bfloat16
            takes 5 MB a prompt.
    """

    def __init__(self, max_entries: int = 8) -> None:
        self.max_entries = max_entries
        self._entries: OrderedDict[Hashable, TextEmbeddings] = OrderedDict()
        self._owners: tuple[weakref.ref[Any], ...] = ()
        self._weights: Hashable = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Weak references can't be pickled, and a copied pipeline has an encoder of its own.
        return TextEmbeddingCache, (self.max_entries,)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Bytes held by the cached tensors."""
        tensors = [t for entry in self._entries.values() for t in entry if t is not None]
        return sum(t.numel() * t.element_size() for t in tensors)

    def clear(self) -> None:
        """Forget all embeddings."""
        self._entries.clear()

    def lookup(
        self,
        key: Hashable,
        text_encoder: nn.Module,
        tokenizer: object,
        encode: Callable[[], TextEmbeddings],
    ) -> TextEmbeddings:
        """Return ``encode()``, or a copy of what it returned for ``key`` and the same encoder.

        Args:
            key: everything but the encoder that the embeddings depend on.
            text_encoder: runs inside ``encode``.
            tokenizer: runs inside ``encode``.
            encode: computes the embeddings.
        """
        if text_encoder.training:  # dropout: every call differs
            return encode()
        self._forget_if_changed(text_encoder, tokenizer)
        if key not in self._entries:
            self._entries[key] = encode().clone()
            if len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)
        self._entries.move_to_end(key)
        # A copy, so that a callback which edits its embeddings in place cannot edit the cache.
        return self._entries[key].clone()

    def _forget_if_changed(self, text_encoder: nn.Module, tokenizer: object) -> None:
        weights = _fingerprint(text_encoder)
        owners = [id(owner()) for owner in self._owners]
        if owners != [id(text_encoder), id(tokenizer)] or weights != self._weights:
            self.clear()
            # Weak references: the cache must not keep a replaced 9 GB encoder alive, and an `id`
            # could come back for a new object.
            self._owners = (weakref.ref(text_encoder), weakref.ref(tokenizer))
            self._weights = weights


def _fingerprint(module: nn.Module) -> Hashable:
    """Changes whenever parameters are added, removed, converted or written to.

    Names in place of identities, because sequential offload makes new parameter objects each call.
    Version counters alone would miss what is written by way of ``.data``: a conversion to bfloat16
    and back, an adapter merged into the weights.
    """
    parameters = dict(module.named_parameters())
    versions = tuple(
        (name, p.dtype, p.shape, 0 if p.is_inference() else p._version)
        for name, p in parameters.items()
    )
    return versions, _some_values(list(parameters.values()))


def _some_values(parameters: list[nn.Parameter]) -> bytes:
    """Values spread over the parameters; none of those offloaded or of a quantising class."""
    spread: dict[torch.device, list[torch.Tensor]] = {}
    for parameter in parameters:
        if type(parameter) is nn.Parameter and parameter.device.type != "meta":
            stride = max(1, parameter.numel() // VALUES_COMPARED)
            values = parameter.detach().reshape(-1)[::stride]
            spread.setdefault(parameter.device, []).append(values.to(torch.float32))
    # Joined before they are fetched: one wait for a GPU, not one a parameter.
    return b"".join(torch.cat(values).cpu().numpy().tobytes() for values in spread.values())
