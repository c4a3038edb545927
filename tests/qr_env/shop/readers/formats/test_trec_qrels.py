"""TREC lines under other suffixes."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.shops.files import read


def test_trec_lines_in_a_tsv_and_a_header_of_four_columns(tmp_path: Path) -> None:
    queries = "query_id,query\n7,couch\n8,lamp\n"
    (tmp_path / "qrels.tsv").write_text("7\t0\t1\t3\n8\t0\t1\t2\n")
    assert read(tmp_path, "product_id,title\n1,sofa\n", queries).qrels.toarray().tolist() == [[4], [3]]
    (tmp_path / "qrels.tsv").write_text("query-id\titeration\tcorpus-id\tscore\n7\t0\t1\t2\n8\t0\t1\t3\n")
    assert read(tmp_path, "product_id,title\n1,sofa\n", queries).qrels.toarray().tolist() == [[3], [4]]
