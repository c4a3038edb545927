"""Which queries of a log a table is built of."""

from __future__ import annotations

from agents.serving.rules import Rules
from runs.common.serving.queries import AskedQuery
from runs.table.queries import Chosen, head, merge, with_overrides

ASKED = [AskedQuery("lamp", 5), AskedQuery("Sofa", 3), AskedQuery("sofa ", 4), AskedQuery("call +49 30 1234567", 9)]


def test_equal_texts_are_one_and_personal_data_is_left_out() -> None:
    assert merge(ASKED) == ([AskedQuery("Sofa", 7), AskedQuery("lamp", 5)], 1)
    assert merge([AskedQuery("b", 1), AskedQuery("a", 1), AskedQuery("\u200b ", 1)])[0][:2] == [
        AskedQuery("a", 1), AskedQuery("b", 1)
    ]  # fmt: skip


def test_the_head_is_a_number_or_covers_a_share() -> None:
    asked = [AskedQuery("a", 6), AskedQuery("b", 3), AskedQuery("c", 1)]
    assert head(asked, 2, None) == asked[:2] and head(asked, None, None) == asked
    assert head(asked, None, 0.6) == asked[:1] and head(asked, None, 0.61) == asked[:2]
    assert head(asked, None, 1.0) == asked


def test_overrides_are_in_every_table_once() -> None:
    rules = Rules(overrides={"sofa": "couch", "rug": "mat"})
    assert with_overrides([AskedQuery("SOFA", 2)], rules) == [AskedQuery("SOFA", 2), AskedQuery("rug", 0.0)]


def test_the_hash_is_of_texts_and_frequencies() -> None:
    hashes = {Chosen([AskedQuery(text, count)], 9.0).hash for text, count in (("a", 1), ("a", 2), ("b", 1))}
    assert len(hashes) == 3
