"""What the integration needs to know of a model family, and which families there are."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from dit_accel import backbones
from dit_accel.errors import UnsupportedError
from dit_accel.exact.forward import Rewrite
from dit_accel.tokens.grid import Grid


class Backbone(Protocol):
    """Sites and token layout of one diffusers transformer class; stateless."""

    model_class: ClassVar[type[nn.Module]]
    # Keyword arguments of a block that hold one entry a batch row.
    row_arguments: ClassVar[tuple[str, ...]]
    # Whether `is_guided` knows, or takes equal latents for guidance until the scheduler tells.
    guidance_is_certain: ClassVar[bool]
    # Whether the first half of the rows of batched guidance is the conditional one.
    conditional_first: ClassVar[bool]

    def blocks(self, transformer: Any) -> list[nn.Module]:
        """The transformer blocks, in order."""

    def self_attention(self, block: Any) -> nn.Module:
        """The self-attention over image tokens of a block."""

    def feed_forward(self, block: Any) -> nn.Module:
        """The feed-forward module of a block."""

    def cross_attention(self, block: Any) -> nn.Module | None:
        """The attention of a block to text, if it has one."""

    def patch_embedding(self, transformer: Any) -> nn.Module:
        """The module that makes latents `[R, C, H, W]` into tokens `[R, N, D]`."""

    def text_projection(self, transformer: Any) -> nn.Module | None:
        """The module that projects text embeddings for all blocks, if there is one."""

    def modulations(self, transformer: Any) -> Rewrite:
        """The exact rewrite that computes this family's modulations once a run; attached."""

    def conditions(self, arguments: Mapping[str, Any]) -> list[torch.Tensor | None]:
        """What a row's modulations depend on besides the timestep, `[R, ...]` each."""

    def grid(self, transformer: Any, latents: torch.Tensor) -> Grid:
        """Token grid for latents `[R, C, H, W]`; `UnsupportedError` for impossible sizes."""

    def modulated_input(
        self, block: Any, hidden_states: torch.Tensor, arguments: Mapping[str, Any]
    ) -> torch.Tensor:
        """What the self-attention of a block sees of its input: `[R, N, C] -> [R, N, C]`."""

    def position_embedding(
        self, transformer: Any, rows: torch.Tensor, columns: torch.Tensor, grid: Grid
    ) -> torch.Tensor:
        """That of the points `rows x columns`, in units of `grid`: `[H'], [W'] -> [H' W', C]`."""

    def is_guided(
        self, transformer: Any, latents: torch.Tensor, arguments: Mapping[str, Any]
    ) -> bool:
        """Whether rows b and b + R/2 are guidance rows of one sample (reads the device once)."""


@dataclass(frozen=True)
class _Entry:
    name: str
    backbone: Backbone


def _entries() -> list[_Entry]:
    modules = (m.name for m in pkgutil.iter_modules(backbones.__path__) if m.name != "backbone")
    loaded = (importlib.import_module(f"{backbones.__name__}.{name}") for name in sorted(modules))
    return [
        _Entry(module.BACKBONE.model_class.__name__, module.BACKBONE)
        for module in loaded
        if hasattr(module, "BACKBONE")
    ]


def find_backbone(transformer: nn.Module) -> Backbone:
    """The backbone of a transformer.

    Raises:
        UnsupportedError: the class is none of the supported ones (subclasses are accepted).
    """
    entries = _entries()
    for entry in entries:
        if isinstance(transformer, entry.backbone.model_class):
            return entry.backbone
    raise UnsupportedError(
        f"transformer: {type(transformer).__name__} is not supported; expected one of"
        f" {', '.join(entry.name for entry in entries)}. A new model family is one file in"
        " dit_accel/backbones/ (docs/architecture.md)."
    )


def halves_equal(latents: torch.Tensor) -> bool:
    """Whether the second half of the rows repeats the first, as batched guidance has it."""
    rows = latents.shape[0]
    if rows % 2 or latents.device.type == "meta":
        return False
    first, second = latents.chunk(2)
    return bool(torch.equal(first, second))
