from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from qr_env.common.errors import BadRowError
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.result import plain_json
from qr_env.retrieval.factory import make_retriever
from qr_env.shop.query_lookup import query_rows
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop, split_of
from qr_env.shop.sources.files import read_folder, write_shop
from qr_env.shop.trec import read_run
from qr_env.traffic.replay_log import as_queries

PRODUCTS = "product_id,title\n1,red sofa\n2,blue lamp\n3,oak table\n"


def shop_of(folder: Path, queries: str, **more: str) -> Shop:
    folder.mkdir(exist_ok=True)
    for stem, text in {"products": PRODUCTS, "queries": queries, **more}.items():
        (folder / f"{stem}.csv").write_text(text, encoding="utf-8")
    return read_folder(folder)


def rows_of(shop: Shop) -> list[tuple[str, str, float]]:
    return [(query.id, query.text, query.frequency) for query in shop.all_queries]


def notes_of(shop: Shop) -> str:
    assert shop.report is not None
    return "\n".join(shop.report.notes)


def test_a_raw_log_reads_as_the_counted_log(tmp_path: Path) -> None:
    counts = {"red sofa": 40, "blue lamp": 5, "oak table": 1}
    spellings = (str.upper, str.title, str.lower, "  {}  ".format)
    lines = [spellings[n % 4](text) for text, count in counts.items() for n in range(count)]
    lines = [lines[n] for n in np.random.default_rng(0).permutation(len(lines))]
    order = list(dict.fromkeys(line.strip().lower() for line in lines))
    raw = shop_of(tmp_path / "raw", "query\n" + "".join(f"{line}\n" for line in lines))
    once = shop_of(tmp_path / "once", "query,frequency\n" + "".join(f"{text},{counts[text]}\n" for text in order))
    assert [(q.text.lower(), q.frequency, q.split) for q in raw.all_queries] == [
        (q.text, q.frequency, q.split) for q in once.all_queries
    ]
    assert "46 lines are 3 queries, with the sums of their frequencies ('" in notes_of(raw)
    assert ": 40 lines)" in notes_of(raw)
    assert "equal texts" not in notes_of(once)


def test_a_raw_log_gives_the_figures_of_the_counted_log(tmp_path: Path) -> None:
    labels = "query,product_id,grade\nred sofa,1,E\nblue lamp,1,I\noak table,3,E\n"
    raw = (
        "query,split\n"
        + "Red Sofa,test\nred  sofa,test\nRED SOFA,test\nblue lamp,test\noak table,test\nOak Table,test\n"
    )
    once = "query,frequency,split\nred sofa,3,test\nblue lamp,1,test\noak table,2,test\n"
    figures = []
    for name, queries in (("raw", raw), ("once", once)):
        shop = shop_of(tmp_path / name, queries, qrels=labels)
        evaluator = HeldOutEvaluator(shop, make_retriever("bm25", shop), "test", k=10)
        evaluation = evaluator.evaluate_run(evaluator.search(["sofa", "lamp table", "table"]), "run")
        figures.append(plain_json(evaluation.summary["all"]))
    assert figures[0] == figures[1]
    assert figures[0]["queries"] == 3


def test_the_most_frequent_spelling_and_the_first_id_hold(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "query_id,query,frequency\na,RED SOFA,2\nb,lamp,1\nc,red sofa,3\nd,Red Sofa,1\ne,LAMP,1\n")
    assert rows_of(shop) == [("a", "red sofa", 6.0), ("b", "lamp", 2.0)]


@pytest.mark.parametrize("other", ["RED  SOFA", "ｒｅｄ sofa", "red\u00a0sofa", "\tRed Sofa "])
def test_unicode_forms_and_spaces_make_no_other_query(tmp_path: Path, other: str) -> None:
    assert rows_of(shop_of(tmp_path, f"query,frequency\nred sofa,2\n{other},1\n")) == [("q1", "red sofa", 3.0)]


def test_labels_and_purchases_of_any_joined_id_are_the_querys(tmp_path: Path) -> None:
    shop = shop_of(
        tmp_path,
        "query_id,query\na,sofa\nb,lamp\nc,Sofa\n",
        qrels="query_id,product_id,grade\na,1,E\nc,3,S\nc,1,E\nb,2,E\nc,2,I\na,2,C\n",
        purchases="query_id,product_id\nc,1\na,3\nb,2\n",
    )
    assert shop.qrels.toarray().tolist() == [[4, 1, 3], [0, 4, 0]]
    assert shop.purchases["query_id"].to_pylist() == ["a", "a", "b"]
    assert "graded again under another spelling or id of the query: 2, 1 of them differently, such as line 7" in (
        notes_of(shop)
    )


def test_labels_by_text_in_any_spelling(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "query\nSofa\nsofa\nlamp\n", qrels="query,docid,label\nSOFA,1,E\nsofa ,2,I\nlamp,2,E\n")
    assert shop.qrels.toarray().tolist() == [[4, 1, 0], [0, 4, 0]]


@pytest.mark.parametrize(
    ("splits", "split"),
    [(("train", "test"), "test"), (("test", "dev"), "test"), (("dev", "train"), "dev"), (("", "dev"), "dev")],
)
def test_of_two_splits_the_held_out_one_wins(tmp_path: Path, splits: tuple[str, str], split: str) -> None:
    shop = shop_of(tmp_path, f"query,split\nsofa,{splits[0]}\nSofa,{splits[1]}\nlamp,train\n")
    assert [query.split for query in shop.all_queries] == [split, "train"]
    said = "queries that stand in two splits: 1; the held-out one wins, test before dev ('sofa': " in notes_of(shop)
    assert said is all(splits)


def test_a_written_shop_keeps_its_rows_and_slices(tmp_path: Path) -> None:
    shop = shop_of(tmp_path / "a", "query\nsofa\nlamp\n", qrels="query,product_id,grade\nsofa,1,S\n")
    twice = shop.queries.set_column(1, "query", [["sofa", "Sofa"]])
    slices = {"second": np.array([False, True])}
    written = Shop("twice", shop.products, twice, shop.qrels, shop.purchases, slices=slices)
    write_shop(written, tmp_path / "b")
    back = read_folder(tmp_path / "b")
    assert back.hash == written.hash
    assert back.slices["second"].tolist() == [False, True]


def test_a_shop_without_equal_texts_is_as_before(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "query\nsofa\nlamp \nDouble  Space\n")
    assert rows_of(shop) == [("q1", "sofa", 1.0), ("q2", "lamp", 1.0), ("q3", "Double  Space", 1.0)]
    assert [query.split for query in shop.all_queries] == [split_of(query.text) for query in shop.all_queries]


def test_a_line_of_a_replayed_log_is_the_joined_query(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "query\nRed Sofa\nred sofa\nRED SOFA\n")
    assert {query.row for query in as_queries(["ｒｅｄ  sofa", "red sofa", "RED sofa"], shop)} == {0}


def test_runs_of_other_systems_name_joined_lines(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "query_id,query,split\na,sofa,test\nb,Sofa,test\nc,lamp,test\n")
    assert shop.joined_ids.to_pylist() == [{"id": "b", "query_id": "a"}]
    run = tmp_path / "run.trec"
    run.write_text("b Q0 1 1 9 x\nb Q0 3 2 8 x\na Q0 1 1 9 x\nc Q0 2 1 9 x\n")
    assert read_run(run, shop, shop.all_queries, k=2)[0].rows_NK.tolist() == [[0, 2], [1, -1]]
    run.write_text("A Q0 1 1 9 x\n")
    reason = r"the query is not in .* It says 'A', the shop has 'a'; the files differ in upper and lower case"
    with pytest.raises(BadRowError, match=reason):
        read_run(run, shop, shop.all_queries)
    names = pa.chunked_array([["b", "c", "d", "a"]])
    assert query_rows(shop, "query_id", names).to_pylist() == [0, 1, None, 0]
    assert query_rows(shop, "query", pa.chunked_array([["SOFA ", "sofas"]])).to_pylist() == [0, None]


def test_an_id_that_stands_on_each_of_its_searches_is_counted(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "query_id,query\na,sofa\nb,lamp\na,Sofa\na,sofa\n", purchases="query_id,product_id\na,1\n")
    assert rows_of(shop) == [("a", "sofa", 3.0), ("b", "lamp", 1.0)]
    assert len(shop.joined_ids) == 0
    assert shop.purchases["query_id"].to_pylist() == ["a"]


@pytest.mark.parametrize(
    "queries", ["query_id,query\na,sofa\nb,x\na,lamp\n", "query_id,query,frequency\na,sofa,3\nb,x,1\na,sofa,3\n"]
)
def test_an_id_of_two_texts_or_with_two_counts_is_an_invalid_row(tmp_path: Path, queries: str) -> None:
    with pytest.raises(BadRowError, match=r"queries\.csv:4: duplicate query_id \(first on line 2\)"):
        shop_of(tmp_path, queries)
    shop = read_folder(tmp_path, ReadOptions(on_bad_row="skip"))
    assert [query.text for query in shop.all_queries] == ["sofa", "x"]


def test_a_german_log_counts_by_its_own_names(tmp_path: Path) -> None:
    for name in ("Anzahl", "Suchvolumen", "Häufigkeit"):
        (tmp_path / "products.csv").write_text("id,title\n1,sofa\n")
        (tmp_path / "queries.csv").write_text(f"Suchbegriff;{name}\nsofa;1.234\nlampe;12\n", encoding="utf-8")
        assert read_folder(tmp_path).queries["frequency"].to_pylist() == [1234, 12]
