"""What every site has in common."""

from __future__ import annotations

from abc import abstractmethod

from dit_accel.methods.config import MethodConfig


class Site(MethodConfig):
    """Where a cache remembers, and what is left out while it forecasts."""

    @property
    def is_guidance(self) -> bool:
        """Whether guidance rows are left out, and not blocks."""
        return False

    @abstractmethod
    def spans(self, num_layers: int, leading: int) -> list[range]:
        """The ranges of blocks that are remembered, each through its residual.

        Args:
            num_layers: blocks of the model.
            leading: so many first blocks are always computed, because the policy looks at them.

        Raises:
            PlanError: the model has no such blocks.
        """
