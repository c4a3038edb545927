"""What the readers say is printed by every verb, once, on stderr; without a verb it is logged and not printed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from qr_env.shop.load import load_shop
from runs.common.cli import main
from runs.common.notes import READERS, printed_notes
from runs.shop.args import Args


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "products.csv").write_text("Handle,Title,Tags\n1,red sofa,new\n2,desk,\n")
    (tmp_path / "queries.csv").write_text("Top queries,Clicks,Impressions\nsofa,1,9\n")
    return str(tmp_path)


def test_a_verb_prints_each_note_once(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["shop", folder, "--json", "-"])
    shown = capsys.readouterr().err
    assert shown.count("note: products.csv: product_id ← Handle, title ← Title; not used: Tags\n") == 1
    assert shown.count("note: queries.csv: query ← Top queries, frequency ← Impressions; not used: Clicks\n") == 1


def test_a_file_that_is_read_again_is_told_once(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    with printed_notes(Args):
        load_shop(folder)
        load_shop(folder)
    assert capsys.readouterr().err.count("note: products.csv: product_id ← Handle") == 1


@pytest.mark.parametrize("verb", [["evaluate", "--judge", "coverage", "--agent", "identity", "--shop"], ["play"]])
def test_verbs_that_only_read_a_shop_print_them_too(
    folder: str, verb: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(SystemExit, match="1") if verb[0] == "evaluate" else printed_notes(Args):
        main([*verb, folder])
    assert "note: products.csv: product_id ← Handle" in capsys.readouterr().err


def test_what_was_taken_is_told_even_if_a_row_then_stops_the_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "products.csv").write_text("SKU,Name\n1,sofa\n,desk\n")
    with pytest.raises(SystemExit, match="1"):
        main(["shop", str(tmp_path / "products.csv")])
    assert "note: products.csv: product_id ← SKU, title ← Name\n" in capsys.readouterr().err


def test_python_callers_hear_nothing_and_find_the_notes_in_the_report(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with printed_notes(Args), printed_notes(Args):
        pass
    assert not READERS.handlers
    report = load_shop(folder).report
    assert capsys.readouterr().err == ""
    assert report is not None
    assert "products.csv: product_id ← Handle, title ← Title; not used: Tags" in report.notes


def test_the_help_lists_the_accepted_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["shop", "--help"])
    shown = capsys.readouterr().out
    for name in ("handle", "variant_price", "regular_price", "top_queries", "impressions", "corpus_id", "score"):
        assert name in shown
