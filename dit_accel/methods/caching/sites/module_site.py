"""What sites inside a block have in common: outputs of modules, before their gate.

On a forecast step such a module does not run; its output is the forecast, and everything else of
the block is computed: norms, modulations, gates, residual adds. So the present latents, timestep
and condition enter at every gate, where the site `block` adds a whole block's residual as it was.
"""

from __future__ import annotations

from dit_accel.methods.caching.sites.block_range import BlockRangeSite


class ModuleSite(BlockRangeSite):
    """A site whose `modules` are remembered in the blocks from `first` to `last`."""

    def module_layers(self, num_layers: int) -> range:
        """The blocks from `first` to `last`."""
        return self.blocks(num_layers)
