"""A rewrite in the form that `combine` needs: in "expand" the words to add, since the engine searches both texts."""

from __future__ import annotations

from agents.query_log.word_model import STOP
from qr_env.language.tokenize import Tokenizer

_NEGATIONS = {
    "en": "no not without", "de": "ohne nicht kein keine", "nl": "zonder niet geen", "sv": "utan inte",
    "da": "uden ikke", "no": "uten ikke", "fr": "sans pas", "es": "sin no", "it": "senza non", "pt": "sem não",
    "ro": "fără nu", "pl": "bez nie", "cs": "bez ne", "ru": "без не", "uk": "без не", "ar": "بدون غير", "he": "ללא בלי",
}  # fmt: skip


def rewrite_for_mode(query: str, rewrite: str, combine: str, tokenizer: Tokenizer) -> str:
    """The rewrite for a `combine` mode: in "expand" the words that the query lacks, else the whole rewrite.

    Words are compared by their stems. Words after "no", "not" or "without" (`negations`) are not added: a search that
    adds words cannot exclude any. "" if the rewrite equals the query or adds nothing.
    """
    stop = STOP if tokenizer.language.code == "en" else tokenizer.stop_words
    excluding = negations(tokenizer)
    own = set(tokenizer.terms(query))
    if combine != "expand":
        return "" if own == set(tokenizer.terms(rewrite)) else " ".join(rewrite.split())
    added = []
    for word in map(_without_punctuation, rewrite.lower().split()):
        if word in excluding:
            break
        if word not in stop and (new := set(tokenizer.terms(word)) - own):
            added.append(word)
            own |= new
    return " ".join(added)


def negations(tokenizer: Tokenizer) -> frozenset[str]:
    """Words that exclude what follows them; none where the language has no list."""
    return frozenset(_NEGATIONS.get(tokenizer.language.code, "").split())


def _without_punctuation(word: str) -> str:
    """The word without leading and trailing punctuation."""
    return word.strip("\"'`“”’.,;:!?()[]{}*")
