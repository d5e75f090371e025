"""Statistics and features that other tools wrote.

================== ========================================================================
``dit_accel``      ``FeatureStatistics.save``: ``n, mu, sigma``
``adm``            ``VIRTUAL_*.npz``: ``mu, sigma, mu_s, sigma_s``, often images ``arr_0``
``moments``        clean-fid, pytorch-fid: ``.npz`` with ``mu, sigma``
``features``       clean-fid's ``*_kid.npz``: ``feats``
``torch-fidelity`` its cache: ``.pt`` with ``{mu, sigma}``, or the tensor of the features
``torchmetrics``   ``state_dict`` of ``FrechetInceptionDistance`` with persistent states
================== ========================================================================

Nothing in a file is executed: ``.npz`` is read without pickles, ``.pt`` by torch's restricted
unpickler, which is told of numpy's arrays and of nothing else.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dit_accel.errors import mismatch
from dit_accel.metrics.arrays import Float64, Floats, MetricError, as_array, as_features
from dit_accel.metrics.feature_statistics import FORMAT
from dit_accel.metrics.frechet import as_moments

_STATE = "real_features_sum"  # of torchmetrics; also under a prefix, as part of a larger module
_EXPECTED = "mu and sigma, feats, or the state of torchmetrics' FrechetInceptionDistance"


@dataclass(frozen=True)
class Moments:
    """Mean `[D]` and unbiased covariance `[D, D]` of `n` vectors, or None if nobody noted it."""

    mean: Float64
    cov: Float64
    n: int | None = None


@dataclass(frozen=True)
class StatisticsFile:
    """What a file of statistics holds.

    Attributes:
        source: which kind of file it was, as in the table above.
        moments: by output of the extractor: "features", and "spatial" for sFID.
        features: of the single images `[N, D]`, if they are there.
    """

    source: str
    moments: Mapping[str, Moments] = field(default_factory=dict)
    features: Floats | None = None


def read_statistics(path: str | Path) -> StatisticsFile:
    """Read statistics written by this package or by another tool.

    Args:
        path: ``.npz``, or ``.pt`` / ``.pth`` for torch-fidelity and torchmetrics.

    Raises:
        MetricError: if the file cannot be read, or holds no statistics that are known here.
    """
    path = Path(path)
    content = _read_npz(path) if path.suffix == ".npz" else _read_torch(path)
    try:
        return _interpret(content)
    except MetricError as error:
        raise MetricError(f"{path}: {error}") from None


def _interpret(content: Any) -> StatisticsFile:
    if isinstance(content, torch.Tensor):
        return StatisticsFile("torch-fidelity", features=as_features(content, "features"))
    if not isinstance(content, Mapping):
        raise MetricError(mismatch(type(content).__name__, _EXPECTED, "pass another file"))
    for key in content:
        if str(key).endswith(_STATE):
            return _torchmetrics(content, str(key).removesuffix(_STATE))
    if "feats" in content:
        return StatisticsFile("features", features=as_features(content["feats"], "feats"))
    if "mu" not in content or "sigma" not in content:
        remedy = "images alone hold no statistics: make a reference of them"
        raise MetricError(mismatch(sorted(map(str, content)), _EXPECTED, remedy))
    n = int(content["n"]) if "n" in content else None
    moments = {"features": _moments(content, "", n)}
    if "mu_s" in content and "sigma_s" in content:
        moments["spatial"] = _moments(content, "_s", n)
    return StatisticsFile(_source(content), moments)


def _source(content: Mapping[str, Any]) -> str:
    if str(content.get("format")) == FORMAT:
        return "dit_accel"
    if "mu_s" in content:
        return "adm"
    # torch-fidelity's dictionary was unpickled as a plain one; what np.load gave says so.
    return "moments" if isinstance(content, _Npz) else "torch-fidelity"


def _moments(content: Mapping[str, Any], suffix: str, n: int | None) -> Moments:
    mean, cov = as_moments(content[f"mu{suffix}"], content[f"sigma{suffix}"], f"mu{suffix}")
    return Moments(mean, cov, n)


def _torchmetrics(state: Mapping[str, Any], prefix: str) -> StatisticsFile:
    """From Σx, Σxxᵀ and n of the real images."""
    names = (_STATE, "real_features_cov_sum", "real_features_num_samples")
    missing = [prefix + name for name in names if prefix + name not in state]
    if missing:
        raise MetricError(mismatch(missing, "all three states", "save the whole state_dict"))
    total, products = (as_array(state[prefix + name], name) for name in names[:2])
    n = int(state[prefix + names[2]])
    if n < 2:
        remedy = "update the metric with real images before it is saved"
        raise MetricError(f"{prefix}{names[2]}: {mismatch(n, 'at least 2', remedy)}")
    mean = total.astype(np.float64) / n
    cov = (products.astype(np.float64) - n * np.outer(mean, mean)) / (n - 1)
    return StatisticsFile("torchmetrics", {"features": Moments(*as_moments(mean, cov, "real"), n)})


class _Npz(dict[str, Any]):
    """Arrays of an ``.npz``."""


def _read_npz(path: Path) -> _Npz:
    # ADM's files also hold 10,000 images, of no use here: arrays are read when they are named.
    wanted = {"format", "n", "mu", "sigma", "mu_s", "sigma_s", "feats"}
    try:
        with np.load(path, allow_pickle=False) as file:
            return _Npz({key: file[key] if key in wanted else None for key in file.files})
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise MetricError(f"{path}: cannot be read as .npz: {error}") from error


def _read_torch(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_numpy_arrays()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise MetricError(f"{path}: cannot be read: {error}") from error
    except pickle.UnpicklingError as error:
        # torch's own message advises to load the file without restrictions: not repeated here.
        remedy = "pass .npz, or .pt of torch-fidelity or torchmetrics"
        raise MetricError(f"{path}: no file of plain tensors and arrays; {remedy}") from error


def _numpy_arrays() -> list[Any]:
    """What torch-fidelity's pickled arrays name, as numpy 2 and numpy 1 spell it."""
    rebuild = np._core.multiarray._reconstruct  # type: ignore[attr-defined]
    names = [(rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("_core", "core")]
    return [*names, np.ndarray, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType]
