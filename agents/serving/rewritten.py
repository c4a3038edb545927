"""One query and what a rewriter made of it, as it is printed, stored in a table, exported and served."""

from __future__ import annotations

from dataclasses import dataclass

from qr_env.query_text.kept import is_kept
from qr_env.query_text.weights import parse_weights


@dataclass(frozen=True, slots=True)
class AddedWord:
    """A word of a rewrite."""

    word: str
    """Without its weight."""
    weight: float = 1.0
    """Weight in the rewrite; a word without one weighs 1."""
    source: str = ""
    """Who proposed it: "query" (typed), "repair", "titles", "log", "type", "teacher", "student", "override" …"""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A query and its rewrite."""

    query: str
    """As the shopper typed it."""
    rewrite: str = ""
    """With weights in Lucene's boost syntax (`qr_env.query_text.weights`); "" keeps the query."""
    words: tuple[AddedWord, ...] = ()
    """The words of `rewrite` with weight and source, in its order; () where the query is kept."""
    source: str = "agent"
    """Who decided: "agent", "override" (a person), "original" (kept by a rule, a guard or a failure)."""
    model: str = ""
    """Name and version of the rewriter."""
    frequency: float = 1.0
    """Searches of this query in the log."""

    @property
    def kept(self) -> bool:
        """Whether the query is searched as it was typed."""
        return is_kept(self.query, self.rewrite)


def rewritten(query: str, rewrite: str, sources: dict[str, str] | None = None, **fields: object) -> Rewritten:
    """A `Rewritten` from a rewriter's answer.

    Args:
        sources: word → who suggested it; words of the query count as "query", others as "student".
        fields: further fields of `Rewritten`.
    """
    if is_kept(query, rewrite):
        return Rewritten(query, **fields)  # type: ignore[arg-type]
    typed, known = set(query.casefold().split()), sources or {}
    words = tuple(
        AddedWord(word, weight, known.get(word) or ("query" if word.casefold() in typed else "student"))
        for text, weight in parse_weights(rewrite).texts
        for word in text.split()
    )
    return Rewritten(query, rewrite, words, **fields)  # type: ignore[arg-type]
