"""Whether a rewrite keeps its original query."""

from __future__ import annotations


def plain(text: str) -> str:
    """The text case-folded, with single spaces."""
    return " ".join(text.casefold().split())


def is_kept(original: str, rewrite: str) -> bool:
    """Whether the rewrite keeps the original: it is empty, or equal in `plain` form."""
    if rewrite == original:
        return True
    bare = plain(rewrite)
    return not bare or bare == plain(original)
