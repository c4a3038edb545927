"""Querqy rules, read back by a parser of the documented grammar that shares no code with the writer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.serving.exports.base import SearchMode
from agents.serving.exports.querqy import QuerqyCommonRules, QuerqyReplaceRules
from agents.serving.rewritten import AddedWord, Rewritten, rewritten

CHARACTERS = 'ab é🛋،"\\#{}<>[]=:|()*$,;^'


def read_rules(text: str) -> dict[str, list[tuple[str, float, str]]]:
    """Input → (instruction, weight, words); AssertionError for a line that is no rule."""
    rules: dict[str, list[tuple[str, float, str]]] = {}
    current = ""
    for line in text.split("\n"):
        bare = line.strip(" ")
        if not bare or bare.startswith("#"):
            continue
        if bare.endswith("=>"):
            current = bare[:-2].strip(" ")
            assert current[0] == current[-1] == '"' and '"' not in current[1:-1] and len(current) > 2
            current = current[1:-1]
            rules[current] = []
            continue
        name, bracket, rest = bare.partition("(")
        weight, colon, words = rest.partition("): ")
        assert name in ("SYNONYM", "UP") and bracket and colon and float(weight) > 0 and words
        assert not set(words) & set('"{}[]|:#')
        rules[current].append((name, float(weight), words))
    return rules


def test_weights_are_relative_to_typed_words_and_types_raise() -> None:
    words = (AddedWord("couch", 2.0, "query"), AddedWord("sofa", 0.8, "titles"), AddedWord("Sofas", 0.5, "type"))
    written = QuerqyCommonRules(SearchMode("expand", 2.0))
    text = written.row(Rewritten("navy couch", "couch^2 sofa^0.8 Sofas^0.5", words))
    assert read_rules(text) == {"navy couch": [("SYNONYM", 0.4, "sofa"), ("UP", 2.5, "Sofas")]}
    assert written.row(Rewritten("kept")) == "" and not written.left_out.reasons


@settings(max_examples=80, deadline=None)
@given(
    st.text(CHARACTERS, min_size=1, max_size=8),
    st.lists(st.text(CHARACTERS.replace(" ", "").replace("^", ""), min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_what_is_written_reads_back_and_the_rest_is_counted(query: str, added: list[str]) -> None:
    row = Rewritten(query, " ".join(added), tuple(AddedWord(word, 0.5, "titles") for word in added))
    written = QuerqyCommonRules()
    rules = read_rules(written.row(row))
    if rules:
        assert list(rules) == [" ".join(query.split())]
        found = [words for _, _, words in rules[" ".join(query.split())]]
        assert set(found) <= set(added)
        assert len(found) == len(added) or written.left_out.reasons
    else:
        assert row.kept or written.left_out.reasons


@pytest.mark.parametrize(("source", "combine", "text"), [
    ("override", "expand", "navy couch => blue sofa\n"),
    ("agent", "replace", "navy couch => blue sofa\n"),
    ("agent", "expand", ""),
])  # fmt: skip
def test_only_rewrites_that_replace_are_replace_rules(source: str, combine: str, text: str) -> None:
    written = QuerqyReplaceRules(SearchMode(combine))
    assert written.row(rewritten("navy couch", "blue sofa", source=source)) == text
    assert bool(written.left_out.reasons) == (not text)


@pytest.mark.parametrize("query", ["a; b", "a => b", "# a", "a * b", '"a"'])
def test_reserved_characters_make_no_replace_rule(query: str) -> None:
    written = QuerqyReplaceRules()
    assert written.row(rewritten(query, "sofa", source="override")) == ""
    assert sum(written.left_out.reasons.values()) == 1
