"""`qr bench judge` against a fake server: every contender is measured and progress is shown. Speed is not tested."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from runs.bench import judge as bench_judge
from runs.bench.args import JudgeBenchArgs
from runs.bench.judge import CONTENDERS, flat, main
from tests.helpers.fake_llm_server import FakeLLMServer
from tests.helpers.fakes import WordRetriever, tiny_shop


@pytest.mark.live
def test_every_contender_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = tiny_shop()
    lists = [("red sofa", shop.titles[:4]), ("fridge", shop.titles[:4])]
    monkeypatch.setattr(bench_judge, "load_shop", lambda *_, **__: shop)
    monkeypatch.setattr(bench_judge, "make_retriever", lambda *_: WordRetriever(shop))
    monkeypatch.setattr(bench_judge, "draw_lists", lambda *_: lists)
    with FakeLLMServer() as server:
        main(JudgeBenchArgs(url=server.url, pairs=40, rounds=1, json=str(tmp_path / "bench.json")))
    report = json.loads((tmp_path / "bench.json").read_text())
    assert report["verdicts_per_second"].keys() == {*CONTENDERS, "store"}
    assert {"list / json", "label / reason", "store / list"} <= report["ratios"].keys()
    assert all(rate > 0 for rate in report["verdicts_per_second"].values())
    assert math.isnan(report["costs_per_verdict"]["label"]["computed tokens"])  # this server counts no tokens
    printed = capsys.readouterr()
    assert "verdicts/s" in printed.out and "bench judge" in printed.err and "reason" in printed.err


def test_pairs_are_in_the_order_of_the_lists() -> None:
    assert flat([("a", ["x", "y"]), ("b", ["z"])]) == [("a", "x"), ("a", "y"), ("b", "z")]
