"""Files under their exports' names."""

from __future__ import annotations

from pathlib import Path

import pytest

from qr_env.common.errors import DataError
from qr_env.shop.sources.files import read_folder
from tests.helpers.shops.files import notes, rows


@pytest.mark.parametrize(
    ("products", "queries"),
    [
        ("wc-product-export-27-11-2026-1764250000000.csv", "Queries.csv"),
        ("products_export_1.csv", "Suchanfragen.csv"),
        ("catalog_products.csv", "query.csv"),
    ],
)
def test_files_keep_the_names_of_their_exports(tmp_path: Path, products: str, queries: str) -> None:
    (tmp_path / products).write_text("id,title\n1,sofa\n")
    (tmp_path / queries).write_text("query\nsofa\n")
    assert len(read_folder(tmp_path).products) == 1
    (tmp_path / "products.csv").write_text("id,title\n1,sofa\n2,lamp\n")
    assert len(read_folder(tmp_path).products) == 2  # the table's own name wins


def test_two_files_of_one_export_are_named(tmp_path: Path) -> None:
    for name in ("products_export_1.csv", "products_export_2.csv"):
        (tmp_path / name).write_text("id,title\n1,sofa\n")
    with pytest.raises(DataError, match=r"products_export_1.csv and products_export_2.csv both hold the products"):
        read_folder(tmp_path)


def test_ms_marco_files_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "products.tsv").write_text("0\tThe presence of minds\n1\tA project\n7067032\tAndy was there\n")
    (tmp_path / "queries.tsv").write_text("300674\thow many years did he live\n9\twhat is a project\n")
    (tmp_path / "qrels.tsv").write_text("300674\t0\t7067032\t3\n9\t0\t1\t2\n")
    shop = read_folder(tmp_path)
    assert rows(shop, "product_id", "title")[2] == ("7067032", "Andy was there")
    assert [(query.id, query.text) for query in shop.all_queries][1] == ("9", "what is a project")
    assert shop.qrels.toarray().tolist() == [[0, 0, 4], [0, 3, 0]]
    assert "queries.tsv: no header; its two columns are taken as id and text" in notes(shop)
    (tmp_path / "queries.tsv").write_text("300674\thow many years did he live\n300674\twhat is a project\n")
    with pytest.raises(DataError, match="the first line looks like data"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["labels.csv", "judgments.csv", "Ratings.csv", "qrels_test.csv"])
def test_labels_under_other_names_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "products.csv").write_text("id,title\n1,sofa\n")
    (tmp_path / "queries.csv").write_text("query_id,query\nq1,sofa\n")
    (tmp_path / name).write_text("qid,iteration,docno,rel\nq1,0,1,3\n")
    assert read_folder(tmp_path).qrels.nnz == 1


def test_other_tables_and_tables_without_rows_are_told(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id,title\n1,sofa\n")
    (tmp_path / "queries.csv").write_text("query_id,query\nq1,sofa\n")
    (tmp_path / "README.txt").write_text("my shop")
    (tmp_path / "qrels.csv").write_text("query_id,product_id,grade\n")
    (tmp_path / "purchases.csv").write_text("query_id,product_id\n")
    told = notes(read_folder(tmp_path))
    assert "qrels.csv: no row with a label" in told and "purchases.csv: no row with a purchase" in told
    assert "other tables" not in told
    (tmp_path / "gold.tsv").write_text("q1\t1\t3\n")
    assert "other tables in the folder, which are not read: gold.tsv;" in notes(read_folder(tmp_path))


def test_texts_alone_without_a_header_are_refused_with_the_line_to_add(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id,title\n1,sofa\n")
    (tmp_path / "queries.txt").write_text("red chair\nsofa\n")
    with pytest.raises(DataError, match="if the first line is data, put a line 'query' above it; accepted"):
        read_folder(tmp_path)


def test_a_column_that_is_taken_is_not_proposed_for_another(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id,title\n1,sofa\n")
    (tmp_path / "queries.csv").write_text("query_id,query\nq1,sofa\n")
    (tmp_path / "qrels.csv").write_text("qid,thing,rel\nq1,1,3\n")
    with pytest.raises(DataError, match=r"no column for 'product_id'(?!.*'qid' is like)"):
        read_folder(tmp_path)
