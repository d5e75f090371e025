"""Fréchet distance of two Gaussians.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium"
(2017), eq. 6:  d² = |μ_a − μ_b|² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½).

Σ_a Σ_b is not symmetric, and its square root by Schur's method (SciPy's ``sqrtm``) comes out
complex where the covariances are singular. Σ_a^½ Σ_b Σ_a^½ has the same eigenvalues and is
symmetric positive semi-definite: two symmetric eigendecompositions in float64 give the trace, for
singular covariances (fewer images than features) as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dit_accel.errors import mismatch
from dit_accel.metrics.arrays import Float64, MetricError, as_array

# Of the largest entry or eigenvalue: what rounding in float32 statistics may leave, and no more.
_ROUNDING = 1e-4


def frechet_distance(mean_a: Any, cov_a: Any, mean_b: Any, cov_b: Any) -> float:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians: the number called FID.

    Args:
        mean_a: `[D]`, numpy, torch or a list.
        cov_a: `[D, D]`; may be singular.
        mean_b: `[D]`.
        cov_b: `[D, D]`; may be singular.

    Returns:
        The distance in squared units of the features. It is 0 for equal arguments to rounding,
        and may then come out as −1e-12 or so: it is not clamped, so that a bias stays visible.

    Raises:
        MetricError: for shapes that do not fit, NaN or infinities, or matrices that are no
            covariances (not symmetric, or with a negative eigenvalue beyond rounding).
    """
    mu_a, sigma_a = as_moments(mean_a, cov_a, "a")
    mu_b, sigma_b = as_moments(mean_b, cov_b, "b")
    if mu_a.shape != mu_b.shape:
        remedy = "compare features of the same extractor"
        raise MetricError(f"mean_b: {mismatch(len(mu_b), f'{len(mu_a)} as mean_a', remedy)}")
    shift = mu_a - mu_b
    root = covariance_root(sigma_a, "cov_a")
    overlap = eigenvalues(root.T @ sigma_b @ root, "cov_b")
    cross = np.sqrt(overlap).sum()
    return float(shift @ shift + np.trace(sigma_a) + np.trace(sigma_b) - 2 * cross)


def as_moments(mean: Any, cov: Any, name: str) -> tuple[Float64, Float64]:
    """Return a mean `[D]` and a covariance `[D, D]` in float64, the latter exactly symmetric."""
    mu = as_array(mean, f"mean_{name}").astype(np.float64)
    sigma = as_array(cov, f"cov_{name}").astype(np.float64)
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        found = [list(mu.shape), list(sigma.shape)]
        remedy = "pass a mean and a covariance of the same features"
        raise MetricError(f"mean_{name}, cov_{name}: {mismatch(found, '[D] and [D, D]', remedy)}")
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise MetricError(
            f"mean_{name}, cov_{name}: holds a NaN or an infinity, expected finite statistics; "
            "compute them again from finite features (a covariance needs two images or more)"
        )
    if np.abs(sigma - sigma.T).max(initial=0.0) > _ROUNDING * np.abs(sigma).max(initial=0.0):
        raise MetricError(
            f"cov_{name}: not symmetric, expected a covariance matrix; "
            "pass np.cov(features, rowvar=False)"
        )
    return mu, (sigma + sigma.T) / 2


def covariance_root(sigma: Float64, name: str) -> Float64:
    """Return R `[D, r]` with R Rᵀ = Σ, r being the numerical rank."""
    values, vectors = np.linalg.eigh(sigma)
    _check_sign(values, name)
    # Directions without variance are left out, or each would add √(1e-16) instead of nothing.
    kept = values > len(values) * np.finfo(np.float64).eps * values.max(initial=0.0)
    root: Float64 = vectors[:, kept] * np.sqrt(values[kept])
    return root


def eigenvalues(matrix: Float64, name: str) -> Float64:
    """Return the eigenvalues of a positive semi-definite matrix, rounding below 0 clamped."""
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    _check_sign(values, name)
    return values.clip(min=0.0)


def _check_sign(values: Float64, name: str) -> None:
    if values.min(initial=0.0) < -_ROUNDING * np.abs(values).max(initial=0.0):
        raise MetricError(
            f"{name}: smallest eigenvalue {values.min():.3g} (largest {values.max():.3g}), "
            "expected none below 0; a covariance matrix has none"
        )
