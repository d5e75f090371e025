"""Score records made up for tests."""

from __future__ import annotations

from dit_accel.scoring.records import Direction, ScoreRecord


def record(
    metric: str,
    value: float | None,
    *,
    interval: tuple[float, float] | None = (0.0, 1.0),
    std: float | None = None,
    n: int = 256,
    better: Direction = "lower",
    forced: bool = False,
    complete: bool = True,
) -> ScoreRecord:
    """A record that says little besides its value."""
    return ScoreRecord(
        metric=metric,
        label=f"{metric} (N={n})",
        value=value,
        std=std,
        interval=interval,
        level=None if interval is None else 0.95,
        n=n,
        complete=complete,
        better=better,
        extractor=None,
        reference={"name": "real", "sha256": "0" * 64, "n": 1000},
        baseline=None,
        settings={"k": 1},
        images={"path": "run", "fingerprint": "f" * 64},
        provenance={},
        time=1.0,
        forced=forced,
    )
