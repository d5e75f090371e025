"""For how many steps each sample may be forecast, planned where it was computed (WorldCache)."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch

from dit_accel.forecast.decisions.curvature_drift import planned_skips
from dit_accel.forecast.predictors.curvature import NUM_SNAPSHOTS, curvature_groups, token_motion
from dit_accel.methods.caching.judges.judge import Judge, Moment
from dit_accel.methods.caching.present_rows import NewestFirst, SpanHistory


class PlannedSkipsJudge(Judge[SpanHistory]):
    """Keeps one number a sample, made anew once any sample has been computed.

    Args:
        chaotic: quantile of the curvature from which on tokens count.
        max_skips: the most steps that are forecast in a row.
        threshold: of the sum of the error signals, by the fraction.
    """

    def __init__(self, chaotic: float, max_skips: int, threshold: Callable[[float], float]) -> None:
        self._chaotic, self._max_skips, self._threshold = chaotic, max_skips, threshold
        self._planned: torch.Tensor | None = None
        self._planned_for: tuple[object, ...] = ()

    @property
    def nbytes(self) -> int:
        """A number a sample."""
        return 0 if self._planned is None else self._planned.nbytes

    def needed(self, signal: SpanHistory, moment: Moment) -> torch.Tensor | None:
        """Samples whose plan has run out, and those of which too little is known."""
        count = moment.num_samples
        samples = [signal.timelines[sample::count] for sample in range(count)]
        enough = [all(len(row.steps) >= NUM_SNAPSHOTS for row in rows) for rows in samples]
        if not any(enough):
            return None
        made_for = (moment.rows, *(timeline.steps for timeline in signal.timelines))
        if self._planned is None or self._planned_for != made_for:
            self._planned, self._planned_for = self._plan(signal, moment), made_for
        # Beyond any plan where nothing can be planned.
        horizons = [
            moment.step - min(row.steps[0] for row in rows) if known else self._max_skips + 1
            for rows, known in zip(samples, enough, strict=True)
        ]
        device = self._planned.device
        return torch.tensor(horizons).to(device, non_blocking=True) > self._planned

    def _plan(self, history: SpanHistory, moment: Moment) -> torch.Tensor:
        """Long `[B]`; where several spans are remembered, what the most restless one allows."""
        newest = NewestFirst.of(history.timelines, NUM_SNAPSHOTS, history.buffers[0].device)
        plans = []
        for buffer in history.buffers:
            motion = token_motion(newest.take(buffer), newest.times)
            # The quantile of the stable tokens has no part in this.
            chaotic, together = self._chaotic, moment.rows_per_sample
            groups = curvature_groups(motion.kappa, chaotic, chaotic, together)
            threshold = self._threshold(moment.fraction)
            plans.append(planned_skips(motion, groups, self._max_skips, threshold, together))
        return reduce(torch.minimum, plans)

    def decided(self, signal: SpanHistory, moment: Moment, computed: torch.Tensor | None) -> None:
        """Nothing: the snapshots to come say it all."""
