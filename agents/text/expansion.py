"""A rewritten query as the student must write it: the words to add, where the engine searches both together."""

from __future__ import annotations

from agents.query_log.word_model import STOP
from qr_env.common import tokenize

NEGATIONS = frozenset(["no", "not", "without"])


def rewrite_for_mode(query: str, rewrite: str, combine: str) -> str:
    """A rewritten query as the student must write it: in "expand" the words that the query lacks, else the whole.

    Words are compared by their stems, and none behind a "no", "not" or "without" is added: an engine that adds words
    cannot take them away. "" where the rewrite is the query, or has nothing to add.
    """
    own = set(tokenize.terms(query))
    if combine != "expand":
        return "" if own == set(tokenize.terms(rewrite)) else " ".join(rewrite.split())
    added = []
    for word in map(_bare, rewrite.lower().split()):
        if word in NEGATIONS:
            break
        if word not in STOP and (new := set(tokenize.terms(word)) - own):
            added.append(word)
            own |= new
    return " ".join(added)


def _bare(word: str) -> str:
    """A word without the punctuation around it."""
    return word.strip("\"'`“”’.,;:!?()[]{}*")
