"""The key `exact` of a plan: which rewrites are on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from dit_accel.configuration.strict_model import StrictModel
from dit_accel.errors import PlanError, mismatch


class Exact(StrictModel):
    """`exact: true`, or for instance `exact: {compile: true, fused_projections: false}`.

    Args:
        modulations: adaLN modulations computed once a run for each distinct row.
        text_keys_values: projected text and its keys and values kept over the steps (PixArt).
        guidance_rows: what equal guidance rows have in common computed once.
        fused_projections: q, k and v of an attention as one matrix product.
        channels_last: the autoencoder's decoder in channels-last memory format.
        compile: `torch.compile` of each block; needs a compiler and costs start-up.
    """

    modulations: bool = True
    text_keys_values: bool = True
    guidance_rows: bool = True
    fused_projections: bool = True
    channels_last: bool = True
    compile: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The rewrites that are on."""
        return tuple(name for name, on in self if on)

    def document(self) -> bool | dict[str, bool]:
        """What a plan file holds: `true`, or what differs from it."""
        return self.model_dump(exclude_defaults=True) or True


ExactSetting: TypeAlias = Exact | Literal[False]
"""`False` where no rewrite is on."""


def read_exact(value: Any) -> ExactSetting:
    """Read `true`, `false`, a mapping, or what was read before.

    Raises:
        PlanError: for anything else, an unknown rewrite, or a value that is no boolean.
    """
    if isinstance(value, bool):
        return Exact() if value else False
    if isinstance(value, Mapping):
        value = Exact(**{str(key): item for key, item in value.items()})
    if isinstance(value, Exact):
        return value if value.names else False
    expected = "true or false, or a mapping of rewrites to true or false"
    remedy = f"write exact: true, or name some of: {', '.join(Exact.model_fields)}"
    raise PlanError(mismatch(value, expected, remedy))
