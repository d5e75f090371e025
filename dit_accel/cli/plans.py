"""``dit-accel plans``: the presets that ship, and what each costs and gives."""

from __future__ import annotations

from rich.console import Console


def plans() -> None:
    """List the shipped presets, with what was measured of each on each shipped model.

    A preset that no benchmark has recorded says so. The figures come from
    ``dit-accel bench --record-presets`` and name the run that they were measured in. Presets named
    after a paper come last, with what they cache and how.
    """
    from dit_accel.reporting.presets import presets_tables, published_table

    Console().print(*presets_tables(), published_table())
