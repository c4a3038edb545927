"""A rewrite in the form that `combine` needs: in "expand" the words to add, since the engine searches both texts."""

from __future__ import annotations

from agents.query_log.word_model import STOP
from qr_env.common.tokenize import Tokenizer

NEGATIONS = frozenset(["no", "not", "without"])


def rewrite_for_mode(query: str, rewrite: str, combine: str, tokenizer: Tokenizer) -> str:
    """The rewrite for a `combine` mode: in "expand" the words that the query lacks, else the whole rewrite.

    Words are compared by their stems. Words after "no", "not" or "without" are not added: a search that adds words
    cannot exclude any. "" if the rewrite equals the query or adds nothing.
    """
    own = set(tokenizer.terms(query))
    if combine != "expand":
        return "" if own == set(tokenizer.terms(rewrite)) else " ".join(rewrite.split())
    added = []
    for word in map(_without_punctuation, rewrite.lower().split()):
        if word in NEGATIONS:
            break
        if word not in STOP and (new := set(tokenizer.terms(word)) - own):
            added.append(word)
            own |= new
    return " ".join(added)


def _without_punctuation(word: str) -> str:
    """The word without leading and trailing punctuation."""
    return word.strip("\"'`“”’.,;:!?()[]{}*")
