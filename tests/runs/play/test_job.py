"""`qr play` through a pipe: hits on both sides, grades, every reward term, and the message about missing labels."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from judges.simple.labels import LabelsJudge
from qr_env.environment.env import QueryRewriteEnv
from qr_env.reward.reward import TERMS
from qr_env.shop.sources.files import write_shop
from runs.common.cli import main
from runs.play import job as play
from tests.helpers.fakes import WordRetriever, tiny_shop


def transcript(lines: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[dict[str, object]]]:
    shop = tiny_shop()
    out = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    env = QueryRewriteEnv(shop, WordRetriever(shop), LabelsJudge(shop))
    played = play.play(env, Console(file=out, width=140))
    return out.getvalue(), played


def test_a_query_of_the_shop_and_two_rewrites(monkeypatch: pytest.MonkeyPatch) -> None:
    text, played = transcript("Couch\nsofa\n\n", monkeypatch)
    assert "query q01 of the shop" in text and "It finds nothing." in text
    assert "E 100%" in text and "Lindholm sofa red" in text
    assert "reward +1.000" in text and "reward +0.000" in text and "The original is kept" in text
    assert all(f"{term} +" in text or f"{term} -" in text for term in TERMS)
    assert [step["reward"] for step in played] == [1.0, 0.0]


def test_free_text_has_no_labels_and_a_message_explains_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text, played = transcript("sofa bed [red]\nblue sofa", monkeypatch)
    assert "not a query of the shop" in text and "grades are missing" in text and "reward +nan" in text
    assert len(played) == 1


def test_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    text, played = transcript(":next\n:what\n:new\n\nfridge\n:quit\nsofa\n", monkeypatch)
    assert "no command :what" in text and "query q03 of the shop" in text and played == []


def test_the_verb_reads_a_folder_and_writes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shop(tiny_shop(), tmp_path / "shop")
    monkeypatch.setattr("sys.stdin", io.StringIO("couch\nsofa\n"))
    main(["play", str(tmp_path / "shop"), "--cache", str(tmp_path / "cache"), "--json", "-"])
    report = json.loads(capsys.readouterr().out)
    assert report["played"][0]["rewrite"] == "sofa" and report["played"][0]["reward"] == pytest.approx(1.0)
