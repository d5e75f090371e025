"""What produced a number: code, versions, machine, threads and date."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("dit-accel", "torch", "diffusers", "transformers", "torchmetrics", "numpy")


def provenance(**settings: Any) -> dict[str, Any]:
    """Everything a reader needs in order to repeat a measurement.

    Args:
        **settings: what only the caller knows (dtype, steps, batch, seeds), kept as given.

    Returns:
        A JSON-serialisable record. ``commit`` and ``dirty`` are ``None`` for an installed wheel.
    """
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **_checkout(),
        "versions": versions(),
        "hardware": _hardware(),
        "threads": torch.get_num_threads(),
        **settings,
    }


def _checkout() -> dict[str, Any]:
    root = Path(__file__).resolve().parents[2]
    # A wheel inside somebody else's repository must not borrow that repository's commit.
    if not (root / "pyproject.toml").is_file() or not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str | None]:
    """Versions of Python, of the packages that matter to a result, and of CUDA."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    found["cuda"] = torch.version.cuda
    return found


def _hardware() -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "ram_gib": round(_ram_bytes() / 2**30, 1),
        "gpus": gpus,
        "platform": platform.platform(),
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _ram_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
