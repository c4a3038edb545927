"""A rewrite as a query string of Lucene's classic parser: `paint^3 gun^3 sprayer^0.4`.

    lucene_query("paint gun", "sprayer^0.4", original_weight=3.0)     # "paint^3 gun^3 sprayer^0.4"
    lucene_query("paint gun", "")                                     # "paint gun"

Solr's standard parser and `query_string` of Elasticsearch and OpenSearch read the same syntax. Words are alternatives:
the parser's default operator is to be OR, as it is unless a schema changes it.

The string says what this project's BM25 searches: a weight multiplies what its word adds to a score. A word that is
there several times is written once, with the sum of its weights; a weight of 1 is not written. Characters that the
syntax reserves are escaped, and so are the words AND, OR and NOT; `<` and `>` become spaces, since Elasticsearch cannot
escape them. A blank query is the empty string, which finds nothing here, and which some parsers refuse: do not send it.
"""

from __future__ import annotations

import re

from qr_env.common.errors import ConfigError
from qr_env.common.types import SearchText
from qr_env.query_text.kept import is_kept
from qr_env.query_text.weights import parse_weights

OPERATORS = ("AND", "OR", "NOT")
DECIMALS = 4  # of a written weight; the syntax has no exponents
_RESERVED = re.compile(r'[-+=&|!(){}\[\]^"~*?:\\/]')
_UNESCAPABLE = re.compile(r"[<>]")


def lucene_query(original: str, rewrite: str, original_weight: float = 1.0, combine: str = "expand") -> str:
    """The query string of a rewrite together with its original (`qr_env.retrieval.combine`).

    Args:
        original: the query as typed: plain text, whatever signs it holds.
        rewrite: words, with weights of their own where they have some (`qr_env.query_text.weights`).
        original_weight: weight of the original's words in "expand", a positive number.
        combine: "expand" or "replace".

    Raises:
        ConfigError: "union", which fuses two result lists and is no single query, or an unknown mode.
    """
    if combine not in ("expand", "replace"):
        raise ConfigError(f"combine={combine!r} is no single query string: choose expand or replace")
    if is_kept(original, rewrite):
        return lucene_string(original)
    texts = parse_weights(rewrite).texts
    return lucene_string(texts if combine == "replace" else ((original, original_weight), *texts))


def lucene_string(text: SearchText) -> str:
    """The query string of what a retriever searches: a text, or ((text, weight), …). Words of weight 0 are left out."""
    weights: dict[str, float] = {}
    for part, weight in ((text, 1.0),) if isinstance(text, str) else text:
        for word in _UNESCAPABLE.sub(" ", part).split():
            weights[word] = weights.get(word, 0.0) + weight
    return " ".join(escaped(word) + boost for word, weight in weights.items() if (boost := _boost(weight)) != "^0")


def escaped(word: str) -> str:
    """The word, read by the parser as plain text."""
    return f"\\{word}" if word in OPERATORS else _RESERVED.sub(r"\\\g<0>", word)


def _boost(weight: float) -> str:
    number = f"{weight:.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "" if number == "1" else f"^{number}"
