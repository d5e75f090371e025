"""The run states of the caches inside the blocks, from the first call of a run to its last."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from dit_accel.backbones import Backbone
from dit_accel.errors import RunError
from dit_accel.integration.module_hooks import InnerRun, present_modules
from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.module_run import ModuleRun
from dit_accel.methods.caching.token_run import TokenRun
from dit_accel.run_state import Position


class ModuleRuns:
    """One a cache and guidance call.

    Args:
        caches: of the plan.
        num_layers: blocks of the model.
        backbone: its family.
        seed: of the plan.
    """

    def __init__(
        self, caches: Sequence[CacheConfig], num_layers: int, backbone: Backbone, seed: int
    ) -> None:
        self._caches = {i: cache for i, cache in enumerate(caches) if cache.site.modules}
        self._num_layers, self._backbone, self._seed = num_layers, backbone, seed
        self.forget()

    def forget(self) -> None:
        """Free everything that is remembered."""
        self._runs: dict[tuple[int, int], InnerRun] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is remembered."""
        return not self._runs

    @property
    def nbytes(self) -> int:
        """Bytes that are remembered now, over all guidance calls."""
        return sum(run.nbytes for run in self._runs.values())

    def told_samples(self, sample_rows: int | None) -> bool:
        """The scheduler stepped so many rows: equal latents were no guidance if those are all.

        Returns:
            Whether they are.
        """
        found = [run for run in self._runs.values() if sample_rows == run.num_rows]
        for run in found:
            run.separate_rows()
        return bool(found)

    def begin_forward(
        self,
        transformer: nn.Module,
        latents: torch.Tensor,
        position: Position,
        present: range | None,
        rows_per_sample: Callable[[CacheConfig], int],
    ) -> dict[int, InnerRun]:
        """Decide what runs in the forward that begins; by cache of the plan.

        Args:
            transformer: the transformer.
            latents: of all rows of the batch, `[R, C, H, W]`.
            position: where in the run.
            present: the rows that are there, all if `None`.
            rows_per_sample: how many of them a cache has to take for one sample.
        """
        begun = {}
        for index, cache in self._caches.items():
            run = self._runs.get((index, position.branch))
            if run is None:
                leader = self._runs.get((index, 0))
                together = rows_per_sample(cache) if leader is None else leader.rows_per_sample
                run = self._open(cache, transformer, latents, together)
                self._runs[index, position.branch] = run
            run.begin_step(position, present, latents.device)
            begun[index] = run
        return begun

    def _open(
        self, cache: CacheConfig, transformer: nn.Module, latents: torch.Tensor, together: int
    ) -> InnerRun:
        samples = paired(latents.shape[0], together)
        if not cache.policy.chooses_tokens:
            return ModuleRun(cache, samples, together, self._num_layers)
        block = self._backbone.blocks(transformer)[0]
        return TokenRun(
            cache,
            samples,
            together,
            self._num_layers,
            present_modules(cache, block, self._backbone),
            self._backbone.grid(transformer, latents),
            self._seed,
        )


def paired(rows: int, rows_per_sample: int) -> int:
    """Samples of so many rows.

    Raises:
        RunError: the rows are no pairs.
    """
    if rows % rows_per_sample:
        raise RunError(
            f"guidance: {rows} rows can't be pairs of guidance rows; pass guidance=False to"
            " dit_accel.run, or both rows of every sample in one call"
        )
    return rows // rows_per_sample
