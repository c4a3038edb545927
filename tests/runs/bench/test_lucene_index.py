"""Lucene as a search engine: the real one where Java and its jars are installed, and the message where not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from qr_env.common.errors import ConfigError
from qr_env.query_text.lucene import lucene_query
from runs.bench import lucene_index
from runs.bench.lucene_index import LuceneIndex, documents, missing, run_java
from tests.helpers.catalogue import shop_of

TITLES = ["Airless paint sprayer", "Paint gun", "Glue gun", "Paint  brush\nset", "Heat gun and paint", "12-gauge wire"]
SHOP = shop_of(TITLES, brand=["Acme", "", "", "", "", "Bolt"])
TITLE = (("title", 1),)

needs_lucene = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@pytest.fixture(scope="module")
def lucene(tmp_path_factory: pytest.TempPathFactory) -> LuceneIndex:
    return LuceneIndex.build(SHOP, tmp_path_factory.mktemp("lucene") / "index", TITLE)


@pytest.mark.live
@needs_lucene
def test_boosts_of_a_query_string_change_the_order_in_proportion(lucene: LuceneIndex) -> None:
    fresh = LuceneIndex(lucene.folder)
    assert math.isnan(fresh.ms_per_query)
    queries = ["paint gun", (("paint gun", 1.0), ("sprayer", 9.0)), "sprayer", (("sprayer", 2.5), ("sprayers", 0.5))]
    rows_NK, scores_NK = (hits := fresh.search(queries, 10)).rows_NK, hits.scores_NK
    assert rows_NK[0, 0] == 1 and rows_NK[1, 0] == 0
    assert set(rows_NK[0].tolist()) == {0, 1, 2, 3, 4, -1}
    assert (np.diff(scores_NK[0, :5]) <= 0).all() and rows_NK[0].tolist()[5:] == [-1] * 5
    assert scores_NK[3, 0] == pytest.approx(3 * scores_NK[2, 0], rel=1e-5)
    assert fresh.searched == 4 and 0 < fresh.ms_per_query < 5_000


@pytest.mark.live
@needs_lucene
def test_whatever_is_typed_is_parsed_and_blank_finds_nothing(lucene: LuceneIndex, tmp_path: Path) -> None:
    typed = [
        "gun AND",
        "NOT",
        "gun^2",
        '"gun',
        "gun: [1 TO",
        "(gun",
        "gun~ *",
        "a\\",
        "gun/",
        "&& || !",
        "<5 {gun",
        " ",
    ]
    strings = [lucene_query(text, "") for text in typed]
    lucene.save(tmp_path / "copy")
    copy = LuceneIndex(tmp_path / "copy")
    hits = copy.search(typed, 3)
    assert ["gun" in text for text in typed] == (hits.rows_NK[:, 0] >= 0).tolist()
    assert hits.rows_NK[3].tolist() == [1, 2, 4]  # the shorter titles first, and of equal ones the lower row
    out, _ = run_java(copy.folder, ["search", str(copy.folder / "index"), "3"], strings)
    exported = [[int(pair.split(":")[0]) for pair in line.split()] for line in out.splitlines()]
    assert exported == [[row for row in rows_K if row >= 0] for rows_K in hits.rows_NK.tolist()]
    assert lucene.search([], 3).rows_NK.shape == (0, 3)


@pytest.mark.live
@needs_lucene
def test_a_failure_of_java_is_told(lucene: LuceneIndex) -> None:
    with pytest.raises(ConfigError, match="java failed, exit code 1"):
        run_java(lucene.folder, ["search", str(lucene.folder / "index"), "3"], ["(gun"])


def test_a_product_is_one_line_with_each_field_as_often_as_it_counts() -> None:
    lines = documents(SHOP, (("title", 2), ("brand", 1)))
    assert lines[0] == "Airless paint sprayer Airless paint sprayer Acme"
    assert lines[3] == "Paint brush set Paint brush set"


def test_what_is_missing_is_named_before_java_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QR_LUCENE", str(tmp_path))
    monkeypatch.setattr(lucene_index.shutil, "which", {"java": "/usr/bin/java"}.get)
    for name in ("core-9.1.0", "analysis-common-9.1.0", "queryparser-9.1.0"):
        (tmp_path / f"lucene-{name}.jar").touch()
    assert lucene_index.version() == "9.1.0"
    with pytest.raises(ConfigError, match=r"javac, lucene-queries-\*.jar, lucene-sandbox-\*.jar .*make lucene"):
        LuceneIndex.build(SHOP, tmp_path / "index", TITLE)
