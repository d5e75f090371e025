"""Two processes that share each batch train the model that one process trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dit_accel.training.checkpoint import RunLog, write_json

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_processes_agree_with_one(finished, recipe, tmp_path):
    (tmp_path / "run").mkdir()
    for stage in ("autoencoder", "latents"):
        (tmp_path / "run" / stage).symlink_to(finished.output / stage)
    # By the record of an earlier stage, as in a real run.
    write_json({"chosen": recipe["mixed_precision"]}, tmp_path / "run" / "precision.json")
    recipe["mixed_precision"] = "auto"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(ROOT / "scripts" / "train_reference.py"), str(tmp_path / "recipe.yaml")]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*command, "--stage", "transformer"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    alone, shared = losses(finished.output), losses(tmp_path / "run")
    # The halves of a batch are summed in another order, and bfloat16 rounds what they see.
    assert shared == pytest.approx(alone, abs=0.02)


def losses(run: Path) -> list[float]:
    records = RunLog(run / "transformer" / "log.jsonl").read()
    return [record["loss"] for record in records if "loss" in record]
