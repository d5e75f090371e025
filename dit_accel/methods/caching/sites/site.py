"""What every site has in common."""

from __future__ import annotations

from typing import ClassVar, Literal

from dit_accel.methods.config import MethodConfig

ModuleName = Literal["attention", "cross_attention", "feed_forward"]


class Site(MethodConfig):
    """Where a cache remembers, and what is left out while it forecasts."""

    # Modules inside a block whose outputs are remembered, as far as a block has them; none where
    # whole blocks or guidance rows are left out.
    modules: ClassVar[tuple[ModuleName, ...]] = ()

    @property
    def is_guidance(self) -> bool:
        """Whether guidance rows are left out, and not blocks."""
        return False

    @property
    def is_output(self) -> bool:
        """Whether outputs of the transformer are replaced, and whole calls left out."""
        return False

    def takes(self, predictor: str) -> str | None:
        """Why a predictor makes no sense here, with the remedy; `None` where it does."""
        return None

    def spans(self, num_layers: int, leading: int) -> list[range]:
        """The ranges of blocks that are remembered, each through its residual; none by default.

        Args:
            num_layers: blocks of the model.
            leading: so many first blocks are always computed, because the policy looks at them.

        Raises:
            PlanError: the model has no such blocks.
        """
        return []

    def module_layers(self, num_layers: int) -> range:
        """The blocks whose `modules` are remembered; none by default.

        Raises:
            PlanError: the model has no such blocks.
        """
        return range(0)
