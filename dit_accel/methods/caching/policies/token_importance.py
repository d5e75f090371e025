"""Between full steps, compute the feed-forward of the most important tokens (ToCa, DuCa, RAS).

ToCa (arXiv 2410.05317) spreads a share of the tokens over steps and layers and takes those with the
highest score (`dit_accel.forecast.decisions.token_importance`). DuCa (2412.18911) does so in every
other step only and reuses all in the rest; its score is the norm of the value vectors, which is the
only one here: column sums of the attention map, ToCa's own, need the N x N map that the fused
kernels never write. RAS (CVPR 2026) has the staleness term too; its attention to kept keys is not
built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dit_accel.forecast.decisions.static_masks import toca_mask
from dit_accel.forecast.decisions.token_importance import token_share
from dit_accel.methods.caching.choosers.chooser import TokenChooser
from dit_accel.methods.caching.choosers.importance import ImportanceChooser, ImportanceRule
from dit_accel.methods.caching.policies.policy import CacheAction
from dit_accel.methods.caching.policies.token_policy import TokenPolicy
from dit_accel.methods.registry import register
from dit_accel.run_state import Position
from dit_accel.tokens.grid import Grid


@register("policy", kind="token_importance")
class TokenImportance(TokenPolicy):
    """`policy: {kind: token_importance, interval: 3, share: 0.07}`.

    Args:
        interval: steps from one full step to the next.
        spacing: `even`, or `toca`: the release's schedule around `interval`, denser where 20 to
            40 % of the run are left, in runs of known length.
        share: of the tokens, before the weights of step and layer; 0.07 for DiT with ToCa, 0.05
            with DuCa, 0.3 for PixArt with ToCa.
        step_weight: how much the share grows from the first step to the last; 0.4 for 250 steps.
        layer_weight: how much it falls from the first block to the last, where negative.
        staleness: what a token gains in score by an interval of waiting.
        bonus: what the best token of each 2x2 cell gains, as a share of its score.
        alternate: tokens in the odd steps after a full one only (DuCa); none in the even ones.
    """

    kind: Literal["token_importance"] = "token_importance"
    reads: ClassVar[Literal["values", "outputs"]] = "values"
    spacing: Literal["even", "toca"] = "even"
    share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.07
    step_weight: float = 2.0
    layer_weight: float = -0.2
    staleness: Annotated[float, Field(ge=0.0)] = 0.25
    bonus: Annotated[float, Field(ge=0.0)] = 0.6
    alternate: bool = False

    def action(
        self, step: int, last: int | None, fraction: float, num_steps: int | None
    ) -> CacheAction:
        """By the interval, or by ToCa's schedule."""
        if self.spacing == "toca" and num_steps is not None:
            mask = toca_mask(num_steps, self.interval)
            return "compute" if last is None or mask[step] else "forecast"
        return super().action(step, last, fraction, num_steps)

    def count(
        self, position: Position, last: int, layer: int, num_layers: int, num_tokens: int
    ) -> int:
        """The share of this step and layer."""
        if self.alternate and (position.step - last) % 2 == 0:
            return 0
        left = 1.0 - position.fraction
        if position.num_steps is not None:  # as released: 0 at the last step, below 1 at the first
            left = (position.num_steps - 1 - position.step) / position.num_steps
        depth = layer / max(1, num_layers - 1)
        share = token_share(self.share, left, depth, self.step_weight, self.layer_weight)
        return round(share * num_tokens)

    def choosers(
        self, layers: Sequence[int], num_rows: int, grid: Grid, seed: int
    ) -> Mapping[int, TokenChooser]:
        """One a layer; nothing is drawn."""
        rule = ImportanceRule(grid, self.interval, self.staleness, self.bonus)
        return {layer: ImportanceChooser(num_rows, rule) for layer in layers}

    def nbytes(self, num_layers: int, num_rows: int, num_tokens: int) -> int:
        """Norm and age of each token, in float32."""
        return num_layers * num_rows * num_tokens * 8
