"""The step × layer grid of a plan: coloured in a terminal, or as a picture."""

from __future__ import annotations

import re
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dit_accel.measure.explain import Explanation, caches_text, cell_text
from dit_accel.reporting import units

_DENSE = "dense"
# The same colours in a terminal and in a picture; dense and forecast are always the first two.
_PALETTE = (
    "#4c72b0",
    "#d9d9d9",
    "#dd8452",
    "#55a868",
    "#c44e52",
    "#8172b3",
    "#937860",
    "#da8bc3",
    "#ccb974",
    "#64b5cd",
)
# As many, for terminals without colours.
_GLYPHS = "█░▓▒▞▤▥▦▧▨"


def cell_kinds(explanation: Explanation) -> tuple[list[list[int]], list[str]]:
    """Kind of every cell, as [steps][layers] indices into the names of the kinds.

    Cells whose operators differ in numbers alone (a scheduled ratio) are of one kind, named by its
    first and last form.
    """
    forms: dict[str, list[str]] = {_DENSE: [_DENSE], "forecast": ["forecast"]}
    kinds: list[list[int]] = []
    for step in explanation.cost.steps:
        row = []
        for layer in range(explanation.num_layers):
            text = cell_text(step.program, layer) or _DENSE
            kind = re.sub(r"\d+", "#", text)
            forms.setdefault(kind, []).append(text)
            row.append(list(forms).index(kind))
        kinds.append(row)
    return kinds, [_range_of_forms(texts) for texts in forms.values()]


def _range_of_forms(texts: list[str]) -> str:
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} … {texts[-1]}"


def _place(kind: int) -> int:
    # Kinds beyond the palette share its colours from the third on; the legend names them all.
    return kind if kind < 2 else 2 + (kind - 2) % (len(_PALETTE) - 2)


def _colour(kind: int) -> str:
    return _PALETTE[_place(kind)]


def _glyph(kind: int) -> str:
    return _GLYPHS[_place(kind)]


def terminal_grid(explanation: Explanation) -> RenderableType:
    """One line a step (layers from left to right) with its MACs, and a legend."""
    kinds, names = cell_kinds(explanation)
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("step", justify="right")
    table.add_column(f"layers 0–{explanation.num_layers - 1}", no_wrap=True)
    table.add_column("cache")
    table.add_column("MACs", justify="right")
    for index, (row, step) in enumerate(zip(kinds, explanation.cost.steps, strict=True)):
        cells = Text.assemble(*((_glyph(kind), _colour(kind)) for kind in row))
        caches = caches_text(explanation, step.program)
        table.add_row(str(index), cells, caches, _step_macs(step.macs_lower, step.macs))
    used = sorted({kind for row in kinds for kind in row})
    legend = [Text.assemble((f"{_glyph(kind)} ", _colour(kind)), names[kind]) for kind in used]
    return Group(table, Text(), *legend)


def _step_macs(lower: int, upper: int) -> str:
    return units.macs(upper) if lower == upper else f"{units.macs(lower)} – {units.macs(upper)}"


def save_grid_png(explanation: Explanation, path: Path) -> None:
    """Draw the grid (steps from left to right, layers upwards) with its legend."""
    kinds, names = cell_kinds(explanation)
    used = sorted({kind for row in kinds for kind in row})
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    columns = [list(column) for column in zip(*kinds, strict=True)]
    axes.pcolormesh(
        columns,
        cmap=ListedColormap([_colour(kind) for kind in range(len(names))]),
        vmin=-0.5,
        vmax=len(names) - 0.5,
        edgecolors="white",
        linewidth=0.5,
    )
    axes.set(xlabel="step", ylabel="layer", title=_title(explanation))
    handles = [Patch(color=_colour(kind), label=names[kind]) for kind in used]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _title(explanation: Explanation) -> str:
    cost = explanation.cost
    return (
        f"{explanation.model}, {explanation.workload.num_steps} steps: "
        f"{units.macs(cost.macs_dense)} MACs dense, {units.macs(cost.macs_plan)} with the plan"
    )
