"""`modulations` of PixArt (arXiv 2310.00426, adaLN-single): computed once a distinct timestep.

One embedder serves all blocks, but stock calls it at every step on every row. Its output depends on
the timestep and the micro-conditions (size and aspect ratio) alone; the guidance rows and all
samples of a batch share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from diffusers.hooks import ModelHook
from torch import nn

from dit_accel.exact.forward import Forward, Key
from dit_accel.exact.row_tables import BUDGET_BYTES, RowTables, as_rows
from dit_accel.exact.sites import Site, Weights
from dit_accel.integration.attach import EXACT_HOOK_NAME, attach


class _ModulationHook(ModelHook):
    """Hands out the rows that are known.

    Attributes:
        known: modulations `[R, 6D]` and embedded timestep `[R, D]` of the forward that runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: tuple[torch.Tensor, ...] | None = None

    def new_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """`([R, 6D], [R, D])`."""
        if self.known is None:
            stock: tuple[Any, ...] = self.fn_ref.original_forward(*args, **kwargs)
            return stock
        return self.known


class SingleModulation:
    """The rewrite on one PixArt.

    Args:
        transformer: a `PixArtTransformer2DModel`.
        budget: bytes of a guidance call's table.
    """

    def __init__(self, transformer: Any, budget: int = BUDGET_BYTES) -> None:
        self._site = Site.of(transformer, "adaln_single")
        self._hook = _ModulationHook()
        self._tables = RowTables(budget)
        self._weights = Weights([self._site.module])
        self._is_stock: bool | None = None
        attach(self._site.module, self._hook, EXACT_HOOK_NAME)

    @property
    def nbytes(self) -> int:
        """Bytes of the table."""
        return self._tables.nbytes

    def stand_aside(self) -> None:
        """The module computes its rows."""
        self._hook.known = None

    def forget(self) -> None:
        """Free the table; look again what the module is."""
        self.stand_aside()
        self._tables.clear()
        self._is_stock = None

    def begin_forward(self, forward: Forward) -> dict[str, Any]:
        """Look the forward's rows up."""
        self.stand_aside()
        if forward.keys is None or not self._usable():
            return {}
        if self._weights.changed():
            self._tables.clear()
        row_bytes = self._row_bytes(forward.latents.dtype)
        build = partial(self._build, forward)
        tables, rows = self._tables.find(forward, forward.upcoming, row_bytes, build)
        index = torch.tensor(rows).to(forward.latents.device, non_blocking=True)
        self._hook.known = tuple(table[index] for table in tables)
        return {}

    def _usable(self) -> bool:
        if not self._site.in_place:
            return False
        if self._is_stock is None:
            self._is_stock = self._site.is_stock
        return self._is_stock

    def _row_bytes(self, dtype: torch.dtype) -> int:
        linear: Any = self._site.module.linear
        return int(linear.out_features + linear.in_features) * dtype.itemsize

    def _build(self, forward: Forward, keys: Sequence[Key]) -> tuple[torch.Tensor, ...]:
        """`[K, 6D]` and `[K, D]`, by the stock module."""
        arguments = forward.arguments
        timesteps = as_rows(arguments["timestep"].reshape(-1), [key[:1] for key in keys])
        conditions, start = {}, 1
        for name, tensor in (arguments.get("added_cond_kwargs") or {}).items():
            conditions[name] = tensor
            if tensor is not None:
                width = tensor[0].numel()
                conditions[name] = as_rows(tensor, [key[start : start + width] for key in keys])
                start += width
        output: tuple[torch.Tensor, ...] = self._site.module(
            timesteps,
            conditions or None,
            batch_size=len(keys),
            hidden_dtype=forward.latents.dtype,
        )
        return output
