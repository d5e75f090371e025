"""The chaos script at a small size; "done when" 4 runs it with 2,000 images."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("chaos.py")


def chaos(*arguments: str) -> dict[str, Any]:
    # A process of its own: forks of this one would inherit the threads of other tests.
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_over_and_over_the_set_is_that_of_an_undisturbed_run() -> None:
    summary = chaos("--images", "200", "--processes", "3", "--seed", "1")
    assert summary["faults"] == []
    assert summary["kills"] >= 5 and summary["pictures_cut"] and summary["lines_cut"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_in_other_batches_it_is_the_same_up_to_rounding() -> None:
    summary = chaos("--images", "60", "--processes", "2", "--batch-sizes", "8", "3", "1")
    assert summary["faults"] == [] and summary["kills"] >= 2
