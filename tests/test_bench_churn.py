"""The churn check finds nothing in our search, and finds ghosts, wrong hits and holes where they are planted."""

import json

import numpy as np
import pytest

from qr_env.bm25 import BM25
from qr_env.shops.generated import generate
from qr_env.types import Hits
from runs import bench
from runs.bench_churn import WRONG, Args, Truth, check, main

SHOP = generate(seed=2, n_products=4_000, n_queries=1_500)


def test_nothing_is_wrong_while_a_tenth_of_the_shop_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr("qr_env.shops.load_shop", lambda *_: SHOP)
    main(Args(results=20_000, prompts=16, json=str(tmp_path / "churn.json")))
    counts = json.loads((tmp_path / "churn.json").read_text())
    assert counts["results"] >= 20_000 and counts["replaced"] == 360 and counts["epochs"] == 9
    assert counts["ghosts"] == counts["wrong"] == counts["holes"] == 0


def test_search_that_ignores_the_assortment_is_caught(monkeypatch):
    search = BM25.search
    monkeypatch.setattr(BM25, "search", lambda self, queries, k, on_sale_P=None: search(self, queries, k))
    assert check(Args(results=3_000, prompts=16), SHOP)["ghosts"] > 100
    monkeypatch.setattr("qr_env.shops.load_shop", lambda *_: SHOP)
    with pytest.raises(SystemExit):
        main(Args(results=3_000, prompts=16))


def test_what_is_planted_is_counted():
    engine, open_P = BM25.build(SHOP), np.ones(4_000, np.bool_)
    texts = [query.text for query in SHOP.split("train")[:50]]
    hits, truth = engine.search(texts, 10), Truth(engine)
    assert truth.compare(texts, hits, open_P).tolist()[1:] == [0, 0, 0]
    rows_NK, scores_NK = hits.rows_NK.copy(), hits.scores_NK.copy()
    rows_NK[0, 0] = 3_999 if rows_NK[0, 0] != 3_999 else 3_998
    rows_NK[1, 9], scores_NK[1, 9] = -1, -np.inf
    rows_NK[2, 1] = rows_NK[2, 0]
    _, ghosts, wrong, holes = truth.compare(texts, Hits(rows_NK, scores_NK), open_P).tolist()
    assert ghosts == 0 and wrong >= 2 and holes == 1
    gone_P = open_P.copy()
    gone_P[hits.rows_NK[3, 0]] = False
    assert truth.compare(texts[3:4], hits[3:4], gone_P).tolist()[1] == 1


def test_qr_bench_churn_counts_the_same(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("qr_env.shops.load_shop", lambda *_: SHOP)
    monkeypatch.setattr("runs.bench_churn.check", lambda args, _: {"results": args.results, **dict.fromkeys(WRONG, 0)})
    bench.main(bench.Args("churn", results=7, json=str(tmp_path / "churn.json")))
    assert "ghosts 0  wrong 0  holes 0" in capsys.readouterr().out
    report = json.loads((tmp_path / "churn.json").read_text())
    assert report["sizes"] == {"results": 7} and report["machine"]["cores"]
    monkeypatch.setattr("runs.bench_churn.check", lambda args, _: {"results": 7, "ghosts": 0, "wrong": 2, "holes": 0})
    with pytest.raises(SystemExit):
        bench.main(bench.Args("churn"))
