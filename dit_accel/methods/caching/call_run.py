"""What run states of caches around whole calls of the transformer have in common.

They leave out rows, or the call, before any of it runs: the step alone decides, so that all samples
have one history.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.cache_run import Mode


class CallRun(ABC):
    """One run of a batch.

    Args:
        config: the cache.
        num_samples: samples of the batch.
        rows_per_sample: 2 where both guidance rows of a sample are in one call.

    Attributes:
        mode: whether `all` or `none` of what it may leave out is computed in this step.
        last_computed: the last step that was computed, `None` before the first.
    """

    def __init__(self, config: CacheConfig, num_samples: int, rows_per_sample: int) -> None:
        self.config, self.num_samples = config, num_samples
        self.rows_per_sample = rows_per_sample
        self.last_computed: int | None = None
        self.mode: Mode = "all"

    @property
    def num_rows(self) -> int:
        """Batch rows, unconditional ones included."""
        return self.num_samples * self.rows_per_sample

    @property
    def need(self) -> list[bool]:
        """Whether each sample is computed."""
        return [self.mode == "all"] * self.num_samples

    @property
    def guarded(self) -> list[bool]:
        """None: rows are left out before a forecast can be judged."""
        return [False] * self.num_samples

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes remembered now."""

    @abstractmethod
    def complete(self, output: torch.Tensor) -> torch.Tensor:
        """Remember, or put in place what was left out: `[P, C, h, w] -> [R, C, h, w]`."""

    def complete_output(self, output: Any) -> Any:
        """The same for what a transformer returns: a tuple, or an output with `sample`."""
        if isinstance(output, tuple):
            return (self.complete(output[0]), *output[1:])
        return type(output)(sample=self.complete(output.sample))
