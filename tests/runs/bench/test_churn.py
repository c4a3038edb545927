"""The churn check finds no error in our search, and finds a search that ignores which products are on sale."""

import json

import pytest

from qr_env.environment.brute_force_check import ERRORS
from qr_env.retrieval.bm25 import BM25
from qr_env.shop.generated.generate import generate
from runs.bench import churn
from runs.bench.args import ChurnArgs
from runs.bench.churn import check, main

SHOP = generate(seed=2, n_products=4_000, n_queries=1_500)


def test_no_error_while_a_tenth_of_the_shop_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr("runs.bench.churn.load_shop", lambda *_, **__: SHOP)
    main(ChurnArgs(results=20_000, prompts=16, json=str(tmp_path / "churn.json")))
    report = json.loads((tmp_path / "churn.json").read_text())
    counts, errors = report["sizes"], report["errors"]
    assert counts["results"] >= 20_000 and counts["replaced"] == 360 and counts["epochs"] == 9
    assert errors["not on sale"] == errors["wrong"] == errors["missing"] == 0


def test_a_search_that_ignores_the_assortment_is_detected(monkeypatch):
    search = BM25.search
    monkeypatch.setattr(BM25, "search", lambda self, queries, k, on_sale_C=None: search(self, queries, k))
    assert check(ChurnArgs(results=3_000, prompts=16), SHOP)["not on sale"] > 100
    monkeypatch.setattr("runs.bench.churn.load_shop", lambda *_, **__: SHOP)
    with pytest.raises(SystemExit):
        main(ChurnArgs(results=3_000, prompts=16))


def test_errors_are_reported_and_set_exit_code_1(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(churn, "load_shop", lambda *_, **__: SHOP)
    monkeypatch.setattr(churn, "check", lambda args, _: {"results": args.results, **dict.fromkeys(ERRORS, 0)})
    main(ChurnArgs(results=7, json=str(tmp_path / "churn.json")))
    assert "not on sale 0  wrong 0  missing 0" in capsys.readouterr().out
    report = json.loads((tmp_path / "churn.json").read_text())
    assert report["sizes"] == {"results": 7} and report["machine"]["cores"]
    monkeypatch.setattr(churn, "check", lambda args, _: {"results": 7, "not on sale": 0, "wrong": 2, "missing": 0})
    with pytest.raises(SystemExit):
        main(ChurnArgs())
