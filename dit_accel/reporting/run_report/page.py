"""The self-contained HTML page: no script, no request, light and dark."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dit_accel.reporting.run_report import wording
from dit_accel.reporting.run_report.content import Content
from dit_accel.reporting.run_report.headlines import RULE
from dit_accel.reporting.run_report.pareto_plot import Plot
from dit_accel.reporting.run_report.seed_grids import thumbnails
from dit_accel.reporting.run_report.throughput_table import THROUGHPUT_COLUMNS

_PACKAGE = "dit_accel.reporting.run_report"


def html_page(content: Content) -> str:
    """The whole page; everything that is not ours is escaped."""
    pictures = thumbnails(content.grid) if content.grid else []
    exact = all(picture.exact for _, row in pictures for picture in row if picture)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            content=content,
            report=content.report,
            pictures=pictures,
            grid_note=wording.grid_note(content.grid, exact=exact) if content.grid else "",
            lead=wording.lead(content.report),
            rule=RULE,
            how_to_read=wording.how_to_read(content.report),
            throughput_columns=THROUGHPUT_COLUMNS,
            throughput_note=wording.THROUGHPUT,
            made=wording.made(),
            style=_style("page.css") + _style("plot.css"),
            svg=plot_svg,
        )
    )


def plot_svg(plot: Plot, size: str, *, standalone: bool = False) -> Markup:
    """A plot as SVG, inside a page that has its style or as a file of its own.

    Args:
        plot: laid out for ``size``.
        size: ``wide`` or ``narrow``, by which a page chooses.
        standalone: whether it has to bring its style.
    """
    style = _style("plot.css") if standalone else ""
    return Markup(
        _environment().get_template("plot.svg.j2").render(plot=plot, size=size, style=style)
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["px"] = lambda number: f"{number:.1f}"
    return environment


@cache
def _style(name: str) -> Markup:
    return Markup((files(_PACKAGE) / "templates" / name).read_text(encoding="utf-8"))
