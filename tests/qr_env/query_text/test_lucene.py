"""`qr_env.query_text.lucene`: a rewrite as a query string for Solr, Elasticsearch and OpenSearch."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qr_env.common.errors import ConfigError
from qr_env.query_text.lucene import lucene_query, lucene_string

TERM = re.compile(r"(?P<word>(?:\\.|[^\\])+?)(?:\^(?P<weight>\d+(?:\.\d+)?))?", re.DOTALL)
RESERVED = r'+-=&|!(){}[]^"~*?:\/<>'
TEXTS = st.text(st.one_of(st.sampled_from(RESERVED + " ANDORT0.9"), st.characters(exclude_categories=["Cs"])))
WEIGHTS = st.integers(1, 100_000).map(lambda count: count / 10_000)


def read(query: str) -> dict[str, float]:
    """Word → weight, as a parser of the syntax would read it; fails on a reserved sign or word that is not escaped."""
    found = {}
    for token in query.split(" ") if query else []:
        term = TERM.fullmatch(token)
        assert term is not None and term["word"] not in ("AND", "OR", "NOT")
        bare = re.sub(r"\\.", "", term["word"], flags=re.DOTALL)
        assert not set(bare) & set(RESERVED)
        found[re.sub(r"\\(.)", r"\1", term["word"], flags=re.DOTALL)] = float(term["weight"] or 1)
    return found


@pytest.mark.parametrize(
    ("original", "rewrite", "weight", "query"),
    [
        ("paint gun", "sprayer^0.4", 3.0, "paint^3 gun^3 sprayer^0.4"),
        ("paint gun", "sprayer", 1.0, "paint gun sprayer"),
        ("paint gun", "paint sprayer", 1.0, "paint^2 gun sprayer"),
        ("paint gun", "PAINT  gun", 3.0, "paint gun"),
        ("paint gun", "", 3.0, "paint gun"),
        ("paint", "gun^0", 3.0, "paint^3"),
        ("", "gun", 1.0, "gun"),
        ("  ", " ", 1.0, ""),
        ("2x4 (8 ft.)", "", 1.0, r"2x4 \(8 ft.\)"),
        ("<5 gal", "a^b", 1.0, r"5 gal a\^b"),
        ("gun^2", "tip", 1.0, r"gun\^2 tip"),
        ("this OR that", "AND^0.5", 1.0, r"this \OR that \AND^0.5"),
    ],
)
def test_expanded_queries(original: str, rewrite: str, weight: float, query: str) -> None:
    assert lucene_query(original, rewrite, weight) == query


def test_replace_writes_the_rewrite_alone_unless_it_keeps_the_original() -> None:
    assert lucene_query("couch", "red sofa^2", 3.0, "replace") == "red sofa^2"
    assert lucene_query("couch", " ", 3.0, "replace") == "couch"
    assert lucene_query("couch", "sofa^0", 3.0, "replace") == ""


@pytest.mark.parametrize("combine", ["union", "append"])
def test_what_is_no_single_query_is_refused(combine: str) -> None:
    with pytest.raises(ConfigError, match=f"combine='{combine}'.*expand or replace"):
        lucene_query("couch", "sofa", combine=combine)


@given(TEXTS)
def test_any_text_is_read_back_as_its_words(text: str) -> None:
    assert read(lucene_string(text)).keys() == set(re.sub("[<>]", " ", text).split())


@given(st.lists(st.tuples(TEXTS, WEIGHTS)))
def test_weights_are_read_back_as_sums(parts: list[tuple[str, float]]) -> None:
    sums: dict[str, float] = {}
    for text, weight in parts:
        for word in re.sub("[<>]", " ", text).split():
            sums[word] = sums.get(word, 0.0) + weight
    assert read(lucene_string(tuple(parts))) == pytest.approx(sums, abs=1e-4)


@given(TEXTS, TEXTS, WEIGHTS)
def test_a_query_with_any_rewrite_can_be_read(original: str, rewrite: str, weight: float) -> None:
    assert read(lucene_query(original, rewrite, weight)).keys() >= set(re.sub("[<>]", " ", original).split())
