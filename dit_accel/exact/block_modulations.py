"""`modulations` of DiT (arXiv 2212.09748, adaLN-Zero): those of all steps computed once a run.

diffusers gives each block an embedder of its own and calls all of them, and the `6D` linear behind
each, at every step and on every row. They depend on (timestep, label) alone. Here they are computed
for the distinct pairs of a run, many steps in one matrix product, and looked up by row.

What a block is told instead of the timestep is the row of its table: whoever gathers rows on the
way to a block gathers the modulations alike. `norm1` itself stays as it is; its embedder passes
the rows on and its linear looks them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.hooks import ModelHook
from torch import nn

from dit_accel.exact.forward import Forward, Key, TensorForward
from dit_accel.exact.row_tables import BUDGET_BYTES, RowTables, as_rows
from dit_accel.exact.sites import Site, Weights
from dit_accel.integration.attach import EXACT_HOOK_NAME, attach


class _Lookup:
    """What the two hooks of a modulation share: its table `[K, M]`, and the rows asked for."""

    def __init__(self) -> None:
        self.table: torch.Tensor | None = None
        self.rows: torch.Tensor | None = None


class _EmbedderHook(ModelHook):
    """In place of the embedding, which nobody needs, takes the rows."""

    def __init__(self, lookup: _Lookup) -> None:
        super().__init__()
        self._lookup = lookup

    def new_forward(
        self, module: nn.Module, timestep: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Rows `[r]` -> `[r, 1]`, of which only the shape and the dtype matter."""
        forward: TensorForward = self.fn_ref.original_forward
        lookup = self._lookup
        if lookup.table is None:
            return forward(timestep, *args, **kwargs)
        lookup.rows = timestep
        return lookup.table[:1, :1].expand(timestep.shape[0], 1)


class _LinearHook(ModelHook):
    """Looks the modulation up."""

    def __init__(self, lookup: _Lookup) -> None:
        super().__init__()
        self._lookup = lookup

    def new_forward(self, module: nn.Module, embedding: torch.Tensor) -> torch.Tensor:
        """`[r, 1] -> [r, M]`."""
        forward: TensorForward = self.fn_ref.original_forward
        table, rows = self._lookup.table, self._lookup.rows
        if table is None or rows is None:
            return forward(embedding)
        return table[rows]


class BlockModulations:
    """The rewrite on one DiT.

    Args:
        transformer: a `DiTTransformer2DModel`.
        blocks: its blocks.
        budget: bytes of a guidance call's tables.
    """

    def __init__(self, transformer: Any, blocks: Sequence[Any], budget: int = BUDGET_BYTES) -> None:
        self._norms = [block.norm1 for block in blocks]
        self._embedders = [Site.of(norm, "emb") for norm in self._norms]
        self._linears = [Site.of(norm, "linear") for norm in self._norms]
        self._head = Site.of(transformer, "proj_out_1")
        self._lookups = [_Lookup() for _ in self._norms]
        self._head_lookup = _Lookup()
        self._tables = RowTables(budget)
        self._weights = Weights(site.module for site in self._sites)
        self._is_stock: bool | None = None
        self._share_embedder = False
        self._attach()

    def _attach(self) -> None:
        for lookup, emb, linear in zip(self._lookups, self._embedders, self._linears, strict=True):
            attach(emb.module, _EmbedderHook(lookup), EXACT_HOOK_NAME)
            attach(linear.module, _LinearHook(lookup), EXACT_HOOK_NAME)
        attach(self._head.module, _LinearHook(self._head_lookup), EXACT_HOOK_NAME)

    @property
    def _sites(self) -> list[Site]:
        return [*self._embedders, *self._linears, self._head]

    @property
    def nbytes(self) -> int:
        """Bytes of the tables."""
        return self._tables.nbytes

    def stand_aside(self) -> None:
        """Every block computes its own."""
        for lookup in (*self._lookups, self._head_lookup):
            lookup.table = lookup.rows = None

    def forget(self) -> None:
        """Free the tables; look again what the modules are."""
        self.stand_aside()
        self._tables.clear()
        self._is_stock = None

    def begin_forward(self, forward: Forward) -> dict[str, Any]:
        """Hand each block its table, and the rows in place of the timestep."""
        self.stand_aside()
        # A forecast step needs the head alone, which is not worth 28 tables.
        if forward.keys is None or not forward.blocks_run or not self._usable():
            return {}
        if self._weights.changed():
            self._tables.clear()
            self._share_embedder = _equal(self._embedders)
        row_bytes = self._row_bytes(forward.latents.dtype)
        build = partial(self._build, forward)
        tables, rows = self._tables.find(forward, forward.computed, row_bytes, build)
        index = torch.tensor(rows).to(forward.latents.device, non_blocking=True)
        for lookup, table in zip((*self._lookups, self._head_lookup), tables, strict=True):
            lookup.table = table
        self._head_lookup.rows = index
        return {"timestep": index}

    def _usable(self) -> bool:
        if not all(site.in_place for site in self._sites):
            return False
        if self._is_stock is None:
            self._is_stock = all(site.is_stock for site in self._sites)
        return self._is_stock

    def _row_bytes(self, dtype: torch.dtype) -> int:
        linears: list[Any] = [site.module for site in (*self._linears, self._head)]
        width = sum(linear.out_features for linear in linears)
        return int(width * dtype.itemsize)

    def _build(self, forward: Forward, keys: Sequence[Key]) -> tuple[torch.Tensor, ...]:
        """Modulations `[K, 6D]` of each block and `[K, 2D]` of the head, by the stock modules."""
        arguments = forward.arguments
        timesteps = as_rows(arguments["timestep"].reshape(-1), [key[:1] for key in keys])
        labels = as_rows(arguments["class_labels"], [key[1:] for key in keys])
        dtype = forward.latents.dtype
        first: torch.Tensor = self._norms[0].emb(timesteps, labels, hidden_dtype=dtype)
        embedding, tables = first, []
        for index, norm in enumerate(self._norms):
            if index and not self._share_embedder:
                embedding = norm.emb(timesteps, labels, hidden_dtype=dtype)
            tables.append(norm.linear(norm.silu(embedding)))
        return (*tables, self._head.module(F.silu(first)))


def _equal(embedders: Sequence[Site]) -> bool:
    """Whether all embedders hold the weights of the first; diffusers' class allows others."""
    first, *others = [list(site.module.parameters()) for site in embedders]
    if any(parameter.device.type == "meta" for parameter in first):
        return False
    return all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))
