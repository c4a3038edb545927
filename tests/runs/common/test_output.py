"""Texts of the commands at narrow terminals."""

from __future__ import annotations

from runs.common.output import fitted

TEXT = """Describe a shop: sizes, labels, how hard its queries are for BM25, and samples by slice, in a long first line.
It goes on.

qr shop my_folder --check-engine --engine-out engine.json  # then: qr online my_folder --retriever bm25:engine.json

products.*
  product_id (required): id, handle
name                   what it is, in a column that must stay where it is, however narrow the terminal may be"""


def test_prose_is_wrapped_and_examples_and_lists_keep_their_lines() -> None:
    shown = fitted(TEXT, 60).splitlines()
    kept = TEXT.splitlines()[3:]
    assert shown[-len(kept) :] == kept
    prose = shown[: -len(kept) - 1]
    assert max(map(len, prose)) <= 60 and " ".join(prose) == " ".join(TEXT.splitlines()[:2])
    assert fitted(TEXT, 120) == TEXT
