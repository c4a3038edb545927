"""`qr evaluate`: its table, JSON and run files; judges, checkpoints, several search engines; wrong flags."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.factory import AgentOptions, make_agent, reads_query_log
from qr_env.common.errors import ConfigError
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import write_shop
from qr_env.synthetic.queries import GENERATED
from runs.common.query_log import with_query_log
from runs.evaluate import job
from runs.evaluate.args import Args
from runs.evaluate.job import column_name, main, open_agent, resolve_combine
from tests.helpers.fakes import HashEncoder, WordRetriever, tiny_shop


@pytest.fixture(scope="module")
def shop() -> Shop:
    return tiny_shop()


@pytest.fixture(scope="module")
def folder(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny shop as files; the cache goes there too."""
    folder = tmp_path_factory.mktemp("tiny")
    write_shop(shop, folder / "shop")
    return folder


def test_it_prints_a_table_and_writes_json_and_a_run_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = {"shop": str(folder / "shop"), "cache": str(folder / "cache"), "split": "train", "k": 10}
    main(Args(**common, agent=("identity", "spell"), json=str(folder / "r.json"), run_out=str(folder / "s.trec")))
    table = capsys.readouterr().out
    for text in ("nDCG@10", "identity", "spell", "original failing", "7 queries", "Graded by labels"):
        assert text in table, text
    report = json.loads((folder / "r.json").read_text())
    spelled = report["agents"]["spell"]["summary"]["all"]["metrics"]
    main(Args(**common, agent=(), run_in=str(folder / "s.trec"), json="-", per_query=True))
    again = json.loads(capsys.readouterr().out)["agents"]["s.trec"]
    assert again["summary"]["all"]["metrics"]["nDCG@10"] == spelled["nDCG@10"]
    assert report["timing"]["spell"]["ms/query"] > 0 and "timing" not in report["agents"]["spell"]
    assert "ms/query" in table
    assert again["summary"]["all"]["metrics"]["words ratio"]["mean"] is None
    assert len(again["values"]["nDCG@10"]) == 7


def test_made_up_queries_are_said_in_the_first_line(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shop(replace(shop, slices={GENERATED: np.ones(len(shop.queries), bool)}), tmp_path / "shop")
    main(Args(shop=str(tmp_path / "shop"), cache=str(tmp_path), split="train", agent=("spell",)))
    printed = capsys.readouterr().out
    assert printed.startswith("Made-up queries and grades: no shopper typed these 7 train queries; ")
    assert "7 queries, all made up" in printed
    assert "Graded by made-up grades" in printed
    assert "labels" not in printed


def test_the_last_agents_rewrites_are_written_as_lucene_queries(folder: Path) -> None:
    common = {"shop": str(folder / "shop"), "cache": str(folder / "cache"), "split": "train", "k": 10}
    (folder / "rewrites.csv").write_text("query,rewrite\nred sofa,couch^0.4\n")
    agents = ("identity", f"rewrites:{folder / 'rewrites.csv'}")
    main(Args(**common, agent=agents, weight=3.0, lucene_out=str(folder / "topics.tsv")))
    lines = dict(line.split("\t") for line in (folder / "topics.tsv").read_text().splitlines())
    assert len(lines) == 7 and "red^3 sofa^3 couch^0.4" in lines.values()
    assert sum("^" in line for line in lines.values()) == 1


def test_union_has_no_lucene_query(folder: Path) -> None:
    with pytest.raises(ConfigError, match="union fuses two lists"):
        main(Args(shop=str(folder / "shop"), combine="union", lucene_out=str(folder / "x.tsv")))


def test_a_shop_without_labels_needs_a_judge(
    folder: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = folder / "bare"
    bare.mkdir()
    titles = zip(shop.products["product_id"].to_pylist(), shop.titles, strict=True)
    (bare / "products.csv").write_text("product_id,title\n" + "".join(f"{name},{title}\n" for name, title in titles))
    queries = "".join(f"{query.id},{query.text},test\n" for query in shop.all_queries)
    (bare / "queries.csv").write_text("query_id,query,split\n" + queries)
    common = {"shop": str(bare), "cache": str(folder / "cache"), "agent": ("spell",)}
    with pytest.raises(ConfigError, match="judge"):
        main(Args(**common))
    monkeypatch.setattr(job, "open_encoder", lambda name, cache_folder: HashEncoder())
    main(Args(**common, judge="embedding"))
    table = capsys.readouterr().out
    assert "judge nDCG@10" in table and "Graded by judge embedding" in table


def test_combine_and_weight_default_to_those_of_the_checkpoints(tmp_path: Path) -> None:
    saved = {"a": ("replace", 2.0), "b": ("replace", 2.0), "c": ("expand", 2.0)}
    for name, (combine, weight) in saved.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "student.json").write_text(json.dumps({"combine": combine, "weight": weight}))
    a, b, c = (str(tmp_path / name) for name in saved)
    assert resolve_combine(Args(agent=("identity", "spell"))) == ("expand", 1.0)
    assert resolve_combine(Args(agent=("spell", a, b))) == ("replace", 2.0)
    assert resolve_combine(Args(agent=(a,), combine="union", weight=3.0)) == ("union", 3.0)
    with pytest.raises(ConfigError, match="differ in combine"):
        resolve_combine(Args(agent=(a, c)))
    assert resolve_combine(Args(agent=(a, c), combine="expand")) == ("expand", 2.0)


def test_several_engines_give_several_tables_and_one_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "open_encoder", lambda name, cache_folder: HashEncoder())
    common = {"shop": str(folder / "shop"), "cache": str(folder / "cache"), "split": "train", "k": 10}
    engines = ("bm25", "dense", "hybrid")
    agents = ("spell", "best-of-2:spell")
    main(Args(**common, agent=agents, retriever=engines, json=str(folder / "engines.json")))
    out = capsys.readouterr().out
    assert all(f"queries; {engine}, expand" in out for engine in engines) and "searches/query" in out
    report = json.loads((folder / "engines.json").read_text())
    assert list(report["agents"]) == [f"{agent} @ {engine}" for engine in engines for agent in agents]
    assert [record["retriever"] for record in report["agents"].values()] == [e for e in engines for _ in agents]
    assert 1 <= report["timing"]["best-of-2:spell @ dense"]["searches/query"] <= 2
    with pytest.raises(ConfigError, match="one engine"):
        main(Args(**common, agent=("spell",), retriever=engines, run_out=str(folder / "x.trec")))


def test_columns_are_named_by_kind_and_folder() -> None:
    assert column_name("best-of-8:out/quickstart/checkpoints/best", {}) == "best-of-8:checkpoints/best"
    assert column_name("few-shot:smollm2-135m", {}) == "few-shot:smollm2-135m"
    assert column_name("best-of-2:prompted:http://127.0.0.1:8000/v1", {}) == "best-of-2:prompted:127.0.0.1:8000/v1"


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(ConfigError, match="--run-in"):
        main(Args(agent=()))


def test_an_agent_that_reads_a_log_gets_the_queries_generated_for_students(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.common.query_log.CATALOGUE_QUERIES", 40)
    shop = tiny_shop()
    bare = replace(shop, purchases=shop.purchases.slice(0, 0), qrels=shop.qrels * 0)
    options = AgentOptions(bare, WordRetriever(bare), encoder=HashEncoder)
    with pytest.raises(ConfigError, match="no train query has a purchase"):
        make_agent("cle-qr", options)
    assert len(open_agent("cle-qr", with_query_log(bare), options).rewrite(["red sofa"])[0]) == 1
    logged = ["cle-qr", "few-shot:lm", "best-of-4:query2doc:http://127.0.0.1:1/v1"]
    assert [reads_query_log(spec) for spec in (*logged, "spell", "prompted:lm", "best-of-2:out/best")] == [True] * 3 + [
        False
    ] * 3
