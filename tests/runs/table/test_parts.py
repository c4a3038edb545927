"""`qr table look`, `diff` and `export` on tables of a small shop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runs.table import diff, export, look
from runs.table.args import DiffArgs, ExportArgs, LookArgs
from tests.runs.table.conftest import FixedRewriter

Make = Callable[..., Path]


def test_look_shows_all_about_an_entry(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("never: [red sofa]\n")
    path = make(rules=rules)
    capsys.readouterr()
    look.main(LookArgs(str(path), ("COUCH", "red sofa", "unknown query")))
    printed = capsys.readouterr().out
    assert "couch: sofa" in printed and "60 searches" in printed and "(nothing found)" in printed
    assert "rule         never: red sofa" in printed and "unknown query: not in the table" in printed
    look.main(LookArgs(str(path), ("couch",), json=True))
    assert json.loads(capsys.readouterr().out)["rewritten"]["rewrite"] == "sofa"
    look.main(LookArgs(str(path)))
    assert json.loads(capsys.readouterr().out)["judge"] == "labels"


def test_look_says_why_an_entry_is_not_served(
    make: Make, rewriter: FixedRewriter, capsys: pytest.CaptureFixture[str]
) -> None:
    rewriter.answers["red sofa"] = "blue^9"
    path = make()
    capsys.readouterr()
    look.main(LookArgs(str(path), ("red sofa",)))
    printed = capsys.readouterr().out
    assert "searched as typed" in printed and "blue^9   (not served)" in printed
    assert "NOT passed" in printed and "worse than the query as typed" in printed


def test_diff_by_traffic(
    make: Make, tmp_path: Path, rewriter: FixedRewriter, capsys: pytest.CaptureFixture[str]
) -> None:
    old = make(out=str(tmp_path / "old.db"))
    rewriter.answers["couch"] = "zebra"
    new = make(out=str(tmp_path / "new.db"))
    capsys.readouterr()
    diff.main(DiffArgs(str(old), str(new), json=str(tmp_path / "diff.json")))
    printed = capsys.readouterr().out
    assert "worst, by searches:" in printed and "60 × couch: sofa → zebra" in printed
    figures = json.loads((tmp_path / "diff.json").read_text())
    assert figures["changes"][0]["gain"] == -1.0 and 0 < figures["worse_share"] == figures["changed_share"]
    other = make(out=str(tmp_path / "other.db"), judge="fields")
    diff.main(DiffArgs(str(old), str(other)))
    assert "different judges" in capsys.readouterr().err


def test_export_writes_what_is_served(make: Make, tmp_path: Path, rewriter: FixedRewriter) -> None:
    rewriter.answers["red sofa"] = "blue^9"
    path = make()
    export.main(ExportArgs(str(path), tmp_path / "out" / "r.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "out" / "r.jsonl").read_text().splitlines()]
    by_query = {row["query"]: row["rewrite"] for row in rows}
    assert by_query["couch"] == "sofa" and "red sofa" not in by_query
