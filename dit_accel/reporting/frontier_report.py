"""The three files that a frontier leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dit_accel.reporting.frontier_markdown import frontier_markdown
from dit_accel.reporting.frontier_plot import save_frontier_plot
from dit_accel.runs.atomic import atomic_write, write_json_atomically


def save_frontier(document: dict[str, Any], folder: Path) -> tuple[Path, Path, Path]:
    """Write ``frontier.json``, ``frontier.md`` and ``frontier.png``; returns their paths."""
    data, page, picture = (folder / f"frontier.{suffix}" for suffix in ("json", "md", "png"))
    write_json_atomically(data, document)
    with atomic_write(page) as file:
        file.write(frontier_markdown(document).encode())
    save_frontier_plot(document, picture)
    return data, page, picture
