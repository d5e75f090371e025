"""Every condition that a training can meet, as arguments of the transformer, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dit_accel.sampling.texts import encode_each


@dataclass(frozen=True)
class ConditionTable:
    """Row 0 is no condition; the others are classes or texts.

    Attributes:
        columns: tensors with one row a condition.
        keys: row of each class number or text.
        size: pixels `(height, width)` where the model wants to be told.
    """

    columns: dict[str, Tensor]
    keys: dict[int | str, int]
    size: tuple[int, int] | None = None

    @classmethod
    def of_classes(cls, transformer: Any, labels: Sequence[int]) -> ConditionTable:
        """Class numbers, of a DiT."""
        numbers = sorted(set(labels))
        null = int(transformer.config.num_embeds_ada_norm)
        rows: dict[int | str, int] = {label: row for row, label in enumerate(numbers, start=1)}
        return cls({"class_labels": torch.tensor([null, *numbers])}, rows)

    @classmethod
    def of_texts(cls, pipe: Any, texts: Sequence[str], size: tuple[int, int]) -> ConditionTable:
        """Texts, of a PixArt; encoded one by one, in float32."""
        distinct = ["", *dict.fromkeys(text for text in texts if text)]
        encoded = encode_each(pipe, distinct, guided=False)
        columns = {
            "encoder_hidden_states": encoded["prompt_embeds"].float().cpu(),
            "encoder_attention_mask": encoded["prompt_attention_mask"].cpu(),
        }
        wants_size = pipe.transformer.use_additional_conditions
        keys: dict[int | str, int] = {text: row for row, text in enumerate(distinct)}
        return cls(columns, keys, size if wants_size else None)

    @property
    def is_of_texts(self) -> bool:
        """Whether conditions are texts."""
        return "encoder_hidden_states" in self.columns

    def rows(self, conditions: Sequence[int | str]) -> Tensor:
        """Rows `[B]` of classes or texts."""
        return torch.tensor([self.keys[condition] for condition in conditions])

    def arguments(self, rows: Tensor, device: torch.device) -> dict[str, Any]:
        """Arguments of the transformer for `rows` `[B]`."""
        found: dict[str, Any] = {
            name: column[rows].to(device) for name, column in self.columns.items()
        }
        if self.is_of_texts:
            found["added_cond_kwargs"] = self._micro_conditions(len(rows), device)
        return found

    def call_arguments(self, rows: Tensor, device: torch.device, guided: bool) -> dict[str, Any]:
        """Arguments of the pipeline's call for the same."""
        if not self.is_of_texts:
            return {"class_labels": self.columns["class_labels"][rows].tolist()}
        found = self._texts(rows, device, "")
        nulls = self._texts(torch.zeros_like(rows), device, "negative_") if guided else {}
        return {**found, **nulls, "negative_prompt": None, "use_resolution_binning": False}

    def _texts(self, rows: Tensor, device: torch.device, prefix: str) -> dict[str, Any]:
        return {
            f"{prefix}prompt_embeds": self.columns["encoder_hidden_states"][rows].to(device),
            f"{prefix}prompt_attention_mask": self.columns["encoder_attention_mask"][rows].to(
                device
            ),
        }

    def _micro_conditions(self, count: int, device: torch.device) -> dict[str, Any]:
        if self.size is None:
            return {"resolution": None, "aspect_ratio": None}
        height, width = self.size
        sizes = torch.tensor([[float(height), float(width)]], device=device)
        return {
            "resolution": sizes.repeat(count, 1),
            "aspect_ratio": torch.full((count, 1), height / width, device=device),
        }
