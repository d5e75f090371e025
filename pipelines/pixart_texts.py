"""The texts of one PixArt call: checked, encoded (once), and laid out in guidance rows."""

from dataclasses import dataclass
from typing import Any

import torch

from dit_accel.pipelines.text_embeddings import TextEmbeddingCache, TextEmbeddings


@dataclass(frozen=True)
class PixArtTexts:
    """Prompts, or embeddings in their place, and how to encode them.

    Args:
        prompt: one prompt or P of them; None with ``prompt_embeds``.
        negative_prompt: one for all or P of them; None counts as the empty text.
        prompt_embeds: ``[P, L, D]``.
        prompt_attention_mask: ``[P, L]``.
        negative_prompt_embeds: ``[P, L, D]``.
        negative_prompt_attention_mask: ``[P, L]``.
        guided: whether the negative texts are needed.
        num_images_per_prompt: rows made of each prompt.
        clean_caption: clean captions before encoding.
        max_sequence_length: L, for prompts to encode.
    """

    prompt: str | list[str] | None
    negative_prompt: str | list[str] | None
    prompt_embeds: torch.Tensor | None
    prompt_attention_mask: torch.Tensor | None
    negative_prompt_embeds: torch.Tensor | None
    negative_prompt_attention_mask: torch.Tensor | None
    guided: bool
    num_images_per_prompt: int
    clean_caption: bool
    max_sequence_length: int

    def check(self, pipe: Any, callback_steps: int) -> int:
        """Refuse what contradicts itself; return the batch size, P x images per prompt.

        Raises:
            ValueError: naming the arguments.
        """
        any_side = 8  # sizes are `PixArtSize`'s: stock asks for eights with every autoencoder
        pipe.check_inputs(
            self.prompt,
            any_side,
            any_side,
            self.negative_prompt or None,  # the default "" is no contradiction to given embeddings
            callback_steps,
            self.prompt_embeds,
            self.negative_prompt_embeds,
            self.prompt_attention_mask,
            self.negative_prompt_attention_mask,
        )
        if self.num_images_per_prompt < 1:
            raise ValueError(
                f"`num_images_per_prompt` must be at least 1, got {self.num_images_per_prompt}."
            )
        if self.max_sequence_length < 1:
            raise ValueError(
                f"`max_sequence_length` must be at least 1, got {self.max_sequence_length}."
            )
        num_prompts = self._num_prompts()
        if num_prompts == 0:
            raise ValueError("`prompt` is an empty list: pass at least one prompt.")
        _check_texts("prompt", self.prompt)
        _check_texts("negative_prompt", self.negative_prompt)
        negatives = self.negative_prompt
        if isinstance(negatives, list | tuple) and len(negatives) != num_prompts:
            raise ValueError(
                f"`negative_prompt` is a list of {len(negatives)} for {num_prompts} prompts."
            )
        channels = pipe.transformer.config.caption_channels
        negative, negative_mask = self.negative_prompt_embeds, self.negative_prompt_attention_mask
        _check_embeds("prompt", self.prompt_embeds, self.prompt_attention_mask, channels)
        _check_embeds("negative_prompt", negative, negative_mask, channels)
        if self._needs_encoder() and (pipe.text_encoder is None or pipe.tokenizer is None):
            raise ValueError(
                "This pipeline has no text encoder: pass `prompt_embeds` with its mask and, for "
                "guidance, `negative_prompt_embeds` with its mask."
            )
        return num_prompts * self.num_images_per_prompt

    def encode(self, pipe: Any, cache: TextEmbeddingCache) -> TextEmbeddings:
        """Embeddings as ``pipe.encode_prompt`` gives them, through ``cache`` where it can."""
        device = pipe._execution_device

        def encode_prompt() -> TextEmbeddings:
            encoded = pipe.encode_prompt(
                self.prompt,
                self.guided,
                negative_prompt=self._negative_prompt(),
                num_images_per_prompt=self.num_images_per_prompt,
                device=device,
                prompt_embeds=self.prompt_embeds,
                prompt_attention_mask=self.prompt_attention_mask,
                negative_prompt_embeds=self.negative_prompt_embeds,
                negative_prompt_attention_mask=self.negative_prompt_attention_mask,
                clean_caption=self.clean_caption,
                max_sequence_length=self.max_sequence_length,
            )
            return TextEmbeddings(*encoded)

        if self.prompt_embeds is not None:
            return encode_prompt()
        key = (
            _hashable(self.prompt),
            _hashable(self._negative_prompt()),
            (self.guided, self.num_images_per_prompt, self.clean_caption),
            (self.max_sequence_length, device, _autocast_dtype(device)),
        )
        return cache.lookup(key, pipe.text_encoder, pipe.tokenizer, encode_prompt)

    def _negative_prompt(self) -> str | list[str]:
        return "" if self.negative_prompt is None else self.negative_prompt

    def _num_prompts(self) -> int:
        if self.prompt_embeds is not None:
            return len(self.prompt_embeds)
        return len(self.prompt) if isinstance(self.prompt, list) else 1

    def _needs_encoder(self) -> bool:
        return self.prompt_embeds is None or (self.guided and self.negative_prompt_embeds is None)


def guidance_rows(texts: TextEmbeddings) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings ``[R, L, D]`` and mask ``[R, L]`` of the transformer's batch.

    R = 2B with the unconditional half first, or B where the texts have no negative side.
    """
    embeds, mask = texts.prompt_embeds, texts.prompt_attention_mask
    negative, negative_mask = texts.negative_prompt_embeds, texts.negative_prompt_attention_mask
    if negative is None or negative_mask is None:
        return embeds, mask
    return torch.cat([negative, embeds]), torch.cat([negative_mask, mask])


def _check_texts(name: str, texts: Any) -> None:
    for text in texts if isinstance(texts, list | tuple) else [texts]:
        if text is not None and not isinstance(text, str):
            raise ValueError(f"`{name}` must be a text or a list of texts, got {text!r}.")


def _check_embeds(
    name: str, embeds: torch.Tensor | None, mask: torch.Tensor | None, channels: int
) -> None:
    if embeds is None or mask is None:  # stock has asked for both or none
        return
    if embeds.ndim != 3 or embeds.shape[2] != channels or mask.shape != embeds.shape[:2]:
        raise ValueError(
            f"`{name}_embeds` has shape {list(embeds.shape)} and `{name}_attention_mask` "
            f"{list(mask.shape)}; expected [P, L, {channels}] (the transformer's "
            "`caption_channels`) and [P, L]."
        )


def _hashable(prompt: str | list[str] | None) -> str | tuple[str, ...] | None:
    return tuple(prompt) if isinstance(prompt, list) else prompt


def _autocast_dtype(device: torch.device) -> torch.dtype | None:
    if not torch.is_autocast_enabled(device.type):
        return None
    return torch.get_autocast_dtype(device.type)
