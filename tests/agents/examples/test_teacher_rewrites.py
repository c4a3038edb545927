"""Rewrites of a teacher: Boolean queries, file formats, and held-out queries that are left out."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agents.examples.teacher_rewrites import MAX_WORDS, expansion_terms, file_rewrites, read_rewrites, teacher_rewrites
from agents.text.boolean_query import Boolean, is_boolean, parse
from qr_env.common.errors import BadRowError, DataError
from qr_env.language.tokenize import ENGLISH
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
from tests.helpers.fakes import tiny_shop

REWRITES = Path("../shared/data/rewrites")


@pytest.mark.parametrize(
    ("text", "groups", "excluded"),
    [
        ('(couch OR sofa) AND "navy blue" NOT leather', (("couch", "sofa"), ("navy blue",)), ("leather",)),
        ("(couch or sofa) and blue", (("couch", "sofa"), ("blue",)), ()),
        ('"black and decker" AND drill', (("black and decker",), ("drill",)), ()),
        ("black and decker", (("black and decker",),), ()),
        ("('kids car' OR 'children's car') AND 'men's shoes'", (("kids car", "children's car"), ("men's shoes",)), ()),
        ('a AND b OR (c AND (d OR e)) OR "f g"', (("a b", "c d", "f g"),), ()),
        ("dog food AND grain-free", (("dog food",), ("grain-free",)), ()),
        ('toothbrush AND NOT ("with paste" OR pre-pasted)', (("toothbrush",),), ("with paste", "pre-pasted")),
        ("(price:[200 TO 260]) AND price:<16 AND (brand:rhino OR rhino) AND cost <= 4", (("rhino",),), ()),
        ('(18 inch OR 18") AND ("10”" OR "ten")', (("18 inch", "18"), ("10", "ten")), ()),
        ('("free OR gratis") AND ("NOT with hose" OR hose)', (("free", "gratis"), ("hose",)), ("with hose",)),
        ('cream" OR "double cream" OR "whipping cream', (("cream", "double cream", "whipping cream"),), ()),
        ('("a" AND "b") OR "c" OR "d") AND ("e" OR "f")', (("a b", "c", "d"), ("e", "f")), ()),
        ("((a OR b", (("a", "b"),), ()),
        ("a | b", (("a", "b"),), ()),
        ("NOT", (), ()),
        ("((((", (), ()),
        ("(" * 5_000 + "x", (), ()),
        ("", (), ()),
    ],
)
def test_boolean_queries_are_parsed(text, groups, excluded):
    assert parse(text) == Boolean(groups, excluded)


@pytest.mark.parametrize(
    ("text", "boolean"),
    [("a OR b", True), ("(a or b) c", True), ("salt and pepper", False), ('"war AND peace" book', True), ("a|b", True)],
)
def test_plain_text_is_not_boolean(text, boolean):
    assert is_boolean(text) == boolean


@pytest.mark.parametrize(
    ("query", "boolean", "added"),
    [
        ("couch blue", "(couch OR sofa OR settee) AND (blue OR navy)", "sofa navy settee"),
        ("credit card", '"credit card" AND (rewards OR cashback)', ""),  # made up
        ("kerigue coffee maker", '(Keurig) AND ("coffee maker")', "keurig"),  # a word of its own in no group
        ("knife block", '"knife block" AND ("no knives" OR NOT knives)', ""),
        ("shoes", "(shoes OR shoe OR trainers) NOT (trainers)", ""),
        ("tv", '(tv OR "the very best picture you ever saw at home")', ""),
        ("a sofa", "(sofa OR couch OR settee OR divan OR lounge OR futon OR seat)", "couch settee divan lounge"),
    ],
)
def test_alternatives_to_the_querys_words_are_added(query, boolean, added):
    assert expansion_terms(query, boolean, ENGLISH) == added


def test_words_outside_the_catalogue_are_not_added():
    assert expansion_terms("couch", "couch OR sofa OR settee", ENGLISH, known=frozenset(["sofa", "couch"])) == "sofa"


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_all_file_formats_are_read_without_held_out_queries(suffix, tmp_path):
    rows = [
        ("couch", "(couch OR sofa)"), ("Settee", "sofa"), ("fridge", ""), ("lamp", "lamp"), ("couch", "sofa"),
        ("running shoes", "trainers"), ("stool", "bar stool high"), ("x", " ".join("abcdefghij")),
    ]  # fmt: skip
    path = tmp_path / f"rewrites{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table(dict(zip(("query", "rewrite"), zip(*rows, strict=True), strict=True))), path)
    elif suffix == ".csv":
        path.write_text("query,rewrite\n" + "".join(f'"{query}","{rewrite}"\n' for query, rewrite in rows))
    else:
        path.write_text("".join(json.dumps({"query": query, "rewrite": rewrite}) + "\n" for query, rewrite in rows))
    examples, counts = file_rewrites(path, tiny_shop())
    assert [(e.query, e.response, e.query_id) for e in examples] == [
        ("couch", "sofa", "q01"),
        ("stool", "bar high", ""),
    ]
    assert {example.source for example in examples} == {f"teacher:rewrites{suffix}"}
    assert list(counts.values()) == [8, 1, 1, 2, 1, 1, 1, 2]


def test_unusable_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_rewrites(tmp_path / "none.csv", LoadReport())
    (tmp_path / "a.csv").write_text("query,other\na,b\n")
    with pytest.raises(DataError, match="no column for 'rewrite'"):
        read_rewrites(tmp_path / "a.csv", LoadReport())
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(DataError, match=r"a\.parquet"):
        read_rewrites(tmp_path / "a.parquet", LoadReport())
    (tmp_path / "a.doc").write_text("a\tb")
    with pytest.raises(DataError, match="unknown format"):
        read_rewrites(tmp_path / "a.doc", LoadReport())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("excel.csv", "\ufeffQuery;Rewritten query\r\ncouch;sofa\r\n"),
        ("pairs.jsonl", '{"prompt": "couch", "completion": "sofa", "score": 0.5}\n'),
        ("tabs.txt", "search term\tnew query\ncouch\tsofa\n"),
        ("canard.json", '[{"Question": "couch", "Rewrite": "sofa"}]'),
    ],
)
def test_rewrites_of_other_tools_are_read(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_rewrites(tmp_path / name, LoadReport()) == [("couch", "sofa")]


def test_a_list_of_rewrites_is_several(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"query": "couch", "rewrites": ["sofa", "settee"]}\n{"query": "lamp", "rewrites": []}\n'
    )
    (tmp_path / "a.csv").write_text("query,rewrites\ncouch,sofa | settee\nlamp,\n")
    (tmp_path / "a.json").write_text('{"data": [{"q": "couch", "candidates": ["sofa", "settee"]}, {"q": "lamp"}]}')
    for name in ("a.jsonl", "a.csv", "a.json"):
        assert read_rewrites(tmp_path / name, LoadReport()) == [("couch", "sofa"), ("couch", "settee"), ("lamp", "")]


def test_rewrites_may_be_packed_and_have_rows_skipped(tmp_path):
    path = tmp_path / "rewrites.csv.gz"
    path.write_bytes(gzip.compress(b"query,rewrite\ncouch,sofa\n,lamp\nstool,bar stool,3\nfridge,\n"))
    with pytest.raises(BadRowError, match=r"rewrites\.csv\.gz:3: empty query"):
        read_rewrites(path, LoadReport())
    report = LoadReport(ReadOptions(on_bad_row="skip"))
    assert read_rewrites(path, report) == [("couch", "sofa"), ("fridge", "")]
    assert [bad.line for bad in report.bad_rows] == [3, 4]


class Teacher:
    """An agent that knows one synonym, and keeps what it does not know."""

    name = "teacher"

    def rewrite(self, queries, n=1, seed=0):
        return [[query.replace("couch", "sofa")] * n for query in queries]


def test_an_agents_rewrites_become_examples_but_kept_queries_do_not():
    shop = tiny_shop()
    examples, counts = teacher_rewrites(Teacher(), shop, shop.split("train"), n=3)
    assert {(e.query, e.response) for e in examples} == {("couch", "sofa"), ("blue couch", "sofa")}
    assert counts["nothing to add"] == len(shop.split("train")) - 2
    whole, _ = teacher_rewrites(Teacher(), shop, shop.split("train"), combine="replace")
    assert ("blue couch", "blue sofa") in {(e.query, e.response) for e in whole}


@pytest.mark.skipif(not REWRITES.is_dir(), reason="no shared rewrites here")
def test_a_file_of_a_large_models_rewrites_is_read():
    path = REWRITES / "esci_gpt4o_boolean.parquet"
    examples, counts = file_rewrites(path, tiny_shop())
    assert counts["rows"] == 4_507 and counts["Boolean, parsed"] > 4_490 and counts["kept"] > 3_000
    assert all(0 < len(example.response.split()) <= MAX_WORDS for example in examples)
    words = {word for example in examples for word in example.response.split()}
    assert not words & {"or", "and", "not", "AND", "OR", "NOT"}
    assert not any(character in word for word in words for character in '()"|<>=')
    response_of = {example.query: example.response for example in examples}
    assert response_of["seagull deterrent"] == "gull repellent bird scare"


@pytest.mark.skipif(not REWRITES.is_dir(), reason="no shared rewrites here")
def test_a_file_of_human_rewrites_is_read():
    examples, counts = file_rewrites(REWRITES / "webshop_human.parquet", tiny_shop(), combine="replace")
    assert counts["kept"] > 1_900
    assert all(len(e.response.split()) <= MAX_WORDS + len(e.query.split()) for e in examples)
