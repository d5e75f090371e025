"""What real crops get from the judge of prompts, as a table."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "judge_real_crops.py"


def test_real_crops_follow_their_captions_and_not_those_of_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_path(str(SCRIPT))["main"](count=30)
    table = capsys.readouterr().out
    assert table.startswith("| N = 30 | photograph | part | nearness | mirrored |")
    shares = [
        [float(share) for share in re.findall(r"([\d.]+) \(", row)]
        for row in table.strip().splitlines()[2:]
    ]
    assert [len(row) for row in shares] == [4, 4, 4]
    real, decoded, shuffled = (row[0] for row in shares)
    assert min(real, decoded) > 0.9 and shuffled < 0.3
    assert shares[0][1] > 0.6
