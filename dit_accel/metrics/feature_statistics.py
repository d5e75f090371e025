"""Running mean and covariance of features, that can be merged over batches, ranks and files.

The statistics of a set of vectors form a monoid: the empty set is neutral and ``merge`` is
associative. (n, Σx, Σxxᵀ) is the textbook form, but Σxxᵀ − n·x̄x̄ᵀ cancels where the mean is large
against the spread: 6 of the 16 digits are gone at mean/std = 1000. Kept here is the centred form
(n, x̄, Σ(x − x̄)(x − x̄)ᵀ) of the same monoid, merged as in Chan, Golub & LeVeque, "Updating
Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979), eq. 1.5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dit_accel.errors import mismatch
from dit_accel.metrics.arrays import Float64, MetricError, as_array, as_features
from dit_accel.runs.atomic import atomic_write

FORMAT = "dit_accel.feature_statistics.v1"
_BLOCK = 8192  # rows that are copied to float64 at a time


class FeatureStatistics:
    """Mean and covariance of all the features seen, in float64.

    The same batches in the same order give the same bits; any other partition or order of the
    same rows agrees to rounding (1e-10 is tested).

    Args:
        dim: D, the length of a feature vector.
    """

    def __init__(self, dim: int) -> None:
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
            remedy = "pass the extractor's dim"
            raise MetricError(f"dim: {mismatch(dim, 'a whole number from 1', remedy)}")
        self.dim = dim
        self._n = 0
        self._mean: Float64 = np.zeros(dim)
        self._scatter: Float64 = np.zeros((dim, dim))  # Σ(x − x̄)(x − x̄)ᵀ

    @property
    def n(self) -> int:
        """How many vectors were seen."""
        return self._n

    @property
    def mean(self) -> Float64:
        """Mean `[D]`."""
        self._require(1, "a mean")
        mean: Float64 = self._mean.copy()
        return mean

    @property
    def cov(self) -> Float64:
        """Unbiased covariance `[D, D]` (divided by n − 1, as ``np.cov`` does)."""
        self._require(2, "a covariance")
        return self._scatter / (self._n - 1)

    def update(self, features: Any) -> FeatureStatistics:
        """Add a batch.

        Args:
            features: `[B, D]`, numpy or torch, of any float type and on any device; B may be 0.

        Raises:
            MetricError: for another shape, or a NaN or infinity, naming its row.
        """
        everything = as_features(features, "features", dim=self.dim, least=0)
        for start in range(0, len(everything), _BLOCK):
            rows = everything[start : start + _BLOCK].astype(np.float64)
            mean = rows.mean(axis=0)
            rows -= mean
            # A matrix times its own transpose is a symmetric update in BLAS: half the work, and
            # a result that is symmetric to the bit.
            self._add(len(rows), mean, rows.T @ rows)
        return self

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        """Add all that `other` has seen; changes this object and returns it."""
        if other.dim != self.dim:
            remedy = "merge statistics of the same extractor only"
            raise MetricError(f"merge: {mismatch(other.dim, f'dim {self.dim}', remedy)}")
        if other.n:
            self._add(other.n, other._mean, other._scatter)
        return self

    def save(self, path: str | Path) -> None:
        """Write ``.npz`` atomically, with the keys ``mu`` and ``sigma`` that other tools read.

        With n < 2 there is no ``sigma``: the file can be merged, and no tool will score it.
        """
        arrays = {"format": np.array(FORMAT), "n": np.array(self._n), "mu": self._mean}
        if self._n >= 2:
            arrays["sigma"] = self.cov
        with atomic_write(Path(path)) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes `allow_pickle` for one of them

    @classmethod
    def load(cls, path: str | Path) -> FeatureStatistics:
        """Read what `save` wrote.

        Raises:
            MetricError: if the file is not one of ours; `read_statistics` reads other tools' files.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
        except (OSError, ValueError, EOFError) as error:
            raise MetricError(f"{path}: cannot be read as .npz: {error}") from error
        if str(arrays.get("format")) != FORMAT:
            remedy = "use read_statistics, which reads the files of other tools too"
            raise MetricError(f"{path}: {mismatch(sorted(arrays), f'format {FORMAT}', remedy)}")
        return cls.from_moments(int(arrays["n"]), arrays["mu"], arrays.get("sigma"))

    @classmethod
    def from_moments(cls, n: int, mean: Any, cov: Any | None) -> FeatureStatistics:
        """Return statistics that are known by their moments.

        Args:
            n: number of vectors.
            mean: `[D]`.
            cov: unbiased covariance `[D, D]`; not needed for n < 2.
        """
        vector = as_array(mean, "mean").astype(np.float64)
        statistics = cls(len(vector))
        statistics._n, statistics._mean = n, vector
        if n >= 2:
            statistics._scatter = as_array(cov, "cov").astype(np.float64) * (n - 1)
        return statistics

    def _add(self, n: int, mean: Float64, scatter: Float64) -> None:
        total = self._n + n
        shift = mean - self._mean
        self._mean = self._mean + shift * (n / total)
        self._scatter = self._scatter + scatter
        self._scatter += np.outer(shift, shift) * (self._n * n / total)
        self._n = total

    def _require(self, least: int, what: str) -> None:
        if self._n < least:
            remedy = "call update with features first"
            expected = f"at least {least} vectors for {what}"
            raise MetricError(f"n: {mismatch(self._n, expected, remedy)}")
