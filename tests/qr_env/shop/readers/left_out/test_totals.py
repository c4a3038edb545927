"""Rows of totals are no queries."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.shops.files import notes, read


def test_rows_of_totals_are_no_queries(tmp_path: Path) -> None:
    head = "# ------\n# Search terms\n# Start date: 20260101\n# ------\n"
    ga4 = head + "Search term,Total users,Event count\n,678,12345,Grand total\nred sofa,55,60\nlamp,50,51\n"
    shop = read(tmp_path, "id,title\n1,sofa\n", ga4)
    assert [(query.text, query.frequency) for query in shop.all_queries] == [("red sofa", 60), ("lamp", 51)]
    assert "rows of totals, left out: 1 (such as line 6)" in notes(shop)
    ads = "Search term,Campaign,Impr.,Clicks\nred sofa,A,60,5\nTotal: Search terms, --,60,5\nTotal: Account, --,99,9\n"
    shop = read(tmp_path, "id,title\n1,sofa\n", ads)
    assert [(query.text, query.frequency) for query in shop.all_queries] == [("red sofa", 60)]
    assert "rows of totals, left out: 2 (such as line 3)" in notes(shop)
    shop = read(tmp_path, "id,title\n1,sofa\n", "query,count\ntotal gym,2\ngrand total war,3\n")
    assert len(shop.queries) == 2
