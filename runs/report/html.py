"""HTML pages of the reports: one Jinja2 environment with autoescape, and the cells and rows of its tables.

    section = render("glossary.html", items=[("κ", "agreement beyond chance")])
    write_page(Path("out/report.html"), "my run", [section])

Templates are in `runs/report/templates/`. `base.html` holds the style sheet; `macros.html` holds tables, cards and
definition lists. A page is a single file that loads nothing and follows the reader's light or dark color scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from qr_env.common.atomic_io import atomic_write, saving

ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    text: str = ""
    """the value; escaped unless it is Markup"""
    small: str = ""
    """a second line in small print, such as a confidence interval"""
    color: str = ""
    """CSS class of the cell: "up" (green), "down" (red) or none"""
    small_color: str = ""
    """CSS class of the second line: "up", "down" or none"""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    name: str
    """first column"""
    cells: Sequence[Cell]
    """the other columns"""
    highlighted: bool = False
    """whether the row has a tinted background"""
    name_small: str = ""
    """a second line under the name in small print"""


def sign_color(low: float, high: float) -> str:
    """CSS class of an interval: "up" where it lies above 0, "down" where it lies below 0, else none."""
    return "up" if low > 0 else "down" if high < 0 else ""


def render(template: str, **values: object) -> Markup:
    """The HTML of a template; strings among `values` are escaped, Markup is not."""
    return Markup(ENVIRONMENT.get_template(template).render(**values))


def write_page(path: Path, title: str, sections: Sequence[str], style: str = "") -> Path:
    """Write one self-contained HTML file, atomically.

    Args:
        path: the file; its folder is created.
        title: title of the browser's window.
        sections: HTML of each section in order; empty ones are left out.
        style: CSS of this page in addition to that of `base.html`.
    """
    page = render("page.html", title=title, sections=[Markup(section) for section in sections if section], style=style)
    path.parent.mkdir(parents=True, exist_ok=True)
    with saving(path):
        atomic_write(path, page)
    return path
