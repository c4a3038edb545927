"""Words with weights of their own in a rewrite, in Lucene's boost syntax: `paint gun sprayer^0.3`.

    parse_weights("paint gun sprayer^0.3").texts        # (("paint gun", 1.0), ("sprayer", 0.3))
    write_weights([("paint gun", 1.0), ("sprayer", 0.3)])     # "paint gun sprayer^0.3"
    plain_text("paint gun sprayer^0.3")                 # "paint gun sprayer"

A weight is a decimal number after the last `^` of a word. In a search it multiplies what the word contributes
(`qr_env.retrieval`); a word without one has weight 1. A word whose weight is no number (`sprayer^`, `a^b`, `^2`) is an
ordinary word, with the sign. A weight outside [0, `MAX_WEIGHT`] is clipped. Both are counted.

Only rewrites are parsed. What a shopper typed is always plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from qr_env.common.types import WeightedText

MAX_WEIGHT = 10.0
DIGITS = 2  # decimals of a written weight
_WEIGHTED = re.compile(r"(?P<word>[^\^]+)\^(?P<weight>-?(?:\d+(?:\.\d*)?|\.\d+))")


@dataclass(frozen=True, slots=True)
class ParsedText:
    """A rewrite with its weights taken apart."""

    texts: WeightedText
    """((text, weight), …): neighboring words of one weight share a text; () for a blank rewrite"""
    malformed: int = 0
    """words with a `^` that is followed by no number, or preceded by no word"""
    clipped: int = 0
    """words whose weight was outside [0, `MAX_WEIGHT`]"""

    @property
    def plain(self) -> str:
        """The words without their weights."""
        return " ".join(text for text, _ in self.texts)


def parse_weights(rewrite: str) -> ParsedText:
    """The words of a rewrite and their weights. Never fails: see the module docstring for malformed weights."""
    if "^" not in rewrite:
        return ParsedText(((rewrite, 1.0),) if rewrite.strip() else ())
    return _parse(rewrite)


@lru_cache(maxsize=1 << 16)
def _parse(rewrite: str) -> ParsedText:
    words: list[tuple[str, float]] = []
    malformed = clipped = 0
    for token in rewrite.split():
        found = _WEIGHTED.fullmatch(token)
        if found is None:
            malformed += "^" in token
            words.append((token, 1.0))
            continue
        weight = min(max(float(found["weight"]), 0.0), MAX_WEIGHT)
        clipped += weight != float(found["weight"])
        words.append((found["word"], weight))
    return ParsedText(_joined(words), malformed, clipped)


def _joined(words: Iterable[tuple[str, float]]) -> WeightedText:
    """Neighbors of one weight as one text, so that an embedding model reads a phrase."""
    texts: list[tuple[str, float]] = []
    for word, weight in words:
        if texts and texts[-1][1] == weight:
            texts[-1] = (f"{texts[-1][0]} {word}", weight)
        else:
            texts.append((word, weight))
    return tuple(texts)


def write_weights(words: Iterable[tuple[str, float]]) -> str:
    """The rewrite that holds these (text, weight); a weight of 1 is not written, others with two decimals.

    A weight that rounds to 0 leaves its words out, since they would count for nothing.
    """
    parts: list[str] = []
    for text, weight in words:
        number = f"{min(max(weight, 0.0), MAX_WEIGHT):.{DIGITS}f}".rstrip("0").rstrip(".")
        if number == "1":
            parts += text.split()
        elif number != "0":
            parts += [f"{word}^{number}" for word in text.split()]
    return " ".join(parts)


def plain_text(rewrite: str) -> str:
    """The words of a rewrite without their weights."""
    return parse_weights(rewrite).plain if "^" in rewrite else rewrite
