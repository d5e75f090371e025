"""Two processes that share samples and batches train the adapter that one process trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tiny_adaptations import SPARSE, document

from dit_accel.adapters import load_adapter
from dit_accel.adapters.adapter import Adapter
from dit_accel.training.checkpoint import RunLog

ROOT = Path(__file__).parents[2]
CHANGES = {
    "train": "all",
    "plan": {"density": SPARSE},
    "data": {"kind": "trajectories", "samples": 18, "batch_size": 6, "renoise": 0.5},
    "adapter_dtype": "float32",
    "loop": {"accumulation": 2},
}


def test_two_processes_agree_with_one(open_session, tiny_dit, tmp_path):
    alone = load_adapter(open_session("alone", **CHANGES).train())
    (tmp_path / "shared.yaml").write_text(
        yaml.safe_dump(document(tiny_dit, tmp_path / "shared", **CHANGES))
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*command, "-m", "dit_accel.cli", "train", str(tmp_path / "shared.yaml")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    shared = load_adapter(tmp_path / "shared" / "adapter")
    # Halves of a batch are summed in another order.
    assert losses(tmp_path / "shared") == pytest.approx(losses(tmp_path / "alone"), rel=1e-3)
    assert shared.tensors.keys() == alone.tensors.keys()
    found, wanted = flat(shared), flat(alone)
    assert (found - wanted).norm() < 1e-3 * wanted.norm()


def flat(adapter: Adapter) -> torch.Tensor:
    return torch.cat([adapter.tensors[name].flatten() for name in sorted(adapter.tensors)])


def losses(run: Path) -> list[float]:
    return [record["loss"] for record in RunLog(run / "log.jsonl").read() if "loss" in record]
