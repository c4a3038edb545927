"""Entries as text and back."""

from __future__ import annotations

from agents.serving.rewritten import rewritten
from agents.serving.table.entry import Judged, TableEntry


def test_an_entry_survives_its_text_whatever_it_holds() -> None:
    row = rewritten('Sofa\u2028 "x" 日本 ^', "couch^0.3 日本", {"couch": "titles"}, model="m@1", frequency=2.5)
    judged = Judged(("P1", 'P"2'), (), 0.25, None, None, 0.1)
    entry = TableEntry(row, False, "a verdict is missing", judged, ("forbidden: x",))
    text = entry.as_text()
    assert "\n" not in text and TableEntry.from_text(text) == entry
    assert TableEntry.from_text(text.encode()) == entry
    assert TableEntry.from_text(text).as_text() == text


def test_the_gain_is_unknown_without_both_figures() -> None:
    assert Judged(original=0.5, rewrite=0.75).gain == 0.25
    assert Judged(original=0.5).gain is None and Judged().gain is None
