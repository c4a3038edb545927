"""Texts of requests: cleaned, and searched."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from qr_env.query_text.kept import is_kept
from qr_env.query_text.weights import parse_weights, plain_text

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_RESERVED = re.compile(r'[+\-!(){}\[\]^"~*?:\\/<>=&|]')  # of Lucene's classic query parser


def clean_query(text: str) -> str:
    """The text in NFC, control characters as spaces, single spaces, and `?` for halves of surrogate pairs."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(_CONTROL.sub(" ", unicodedata.normalize("NFC", whole)).split())


def search_text(query: str, rewrite: str, combine: str) -> str:
    """What an engine without weights searches: the query, the words of the rewrite that it lacks; "replace": these."""
    if is_kept(query, rewrite):
        return query
    words = plain_text(rewrite)
    if combine == "replace":
        return words
    typed = set(query.casefold().split())
    return " ".join([query, *dict.fromkeys(word for word in words.split() if word.casefold() not in typed)])


def lucene_text(query: str, rewrite: str, combine: str, weight: float) -> str:
    """The search as a Lucene query string with boosts, reserved characters escaped.

    "expand" and "union": the query's words at `weight` and those of the rewrite; "replace": the rewrite alone.
    """
    if is_kept(query, rewrite):
        return write_boosts([(query, 1.0)])
    texts = parse_weights(rewrite).texts
    return write_boosts(texts if combine == "replace" else [(query, weight), *texts])


def write_boosts(texts: Iterable[tuple[str, float]]) -> str:
    """Words with boosts, as Lucene's classic query parser reads them; AND, OR and NOT are quoted by an escape."""
    words = []
    for text, weight in texts:
        boost = "" if weight == 1 else f"^{weight:g}"
        for word in text.split():
            escaped = _RESERVED.sub(r"\\\g<0>", word)
            words.append(f"\\{escaped}{boost}" if word in ("AND", "OR", "NOT") else f"{escaped}{boost}")
    return " ".join(words)
