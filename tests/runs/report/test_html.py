"""The Jinja2 environment of the pages: everything is escaped, missing values are errors, files are self-contained."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from runs.report.html import ENVIRONMENT, Cell, Row, render, sign_color, write_page
from tests.runs.report.conftest import EVIL, assert_well_formed

TABLE = ENVIRONMENT.from_string('{% import "macros.html" as m %}{{ m.table(heads, rows) }}')


def test_texts_are_escaped_and_markup_is_not() -> None:
    html = render("glossary.html", items=[(EVIL, Markup("10<sup>6</sup>"))])
    assert EVIL not in html and "10<sup>6</sup>" in html


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("glossary.html")


def test_cells_have_their_colors_and_second_lines() -> None:
    html = TABLE.render(
        heads=["a", "b"], rows=[Row(EVIL, [Cell("1", "2 … 3", small_color="up"), Cell("x", "", "down")], True)]
    )
    assert "<tr class=main>" in html and EVIL not in html
    assert '<td>1<small class="up">2 … 3</small></td>' in html and '<td class="down">x</td>' in html


def test_an_interval_has_a_color_if_it_excludes_zero() -> None:
    assert [sign_color(*bounds) for bounds in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0.0, 0.0))] == [
        "up",
        "down",
        "",
        "",
    ]


def test_a_page_is_one_well_formed_file(tmp_path: Path) -> None:
    path = write_page(tmp_path / "new" / "page.html", EVIL, ["<h1>a</h1>", "", "<p>b</p>"], "p { color: red; }")
    page = path.read_text(encoding="utf-8")
    assert_well_formed(page)
    assert "<h1>a</h1>" in page and "p { color: red; }" in page
