"""Texts of requests: cleaned, and searched."""

from __future__ import annotations

import re
import unicodedata

from qr_env.query_text.kept import is_kept
from qr_env.query_text.weights import plain_text

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


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
