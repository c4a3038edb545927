"""What every export format implements: a query and its rewrite → text that another system reads.

A format that cannot say a row leaves it out and counts it by reason in `left_out`; it never writes a row that the other
system would read as something else.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from agents.serving.rewritten import Rewritten
from qr_env.retrieval.combine import ORIGINAL_WEIGHT


@dataclass(frozen=True)
class SearchMode:
    """How the rewrites are searched together with their queries (`qr_env.retrieval.combine`)."""

    combine: str = "expand"
    """"expand", "replace" or "union\""""
    weight: float = ORIGINAL_WEIGHT
    """weight of the original's words in "expand\""""


@dataclass
class LeftOut:
    """Rows that a format could not write."""

    reasons: Counter[str] = field(default_factory=Counter)
    """reason → rows"""

    def add(self, reason: str) -> None:
        """Count one row."""
        self.reasons[reason] += 1


class Format(Protocol):
    """Writes rows of one format, one after the other."""

    mode: SearchMode
    """how the rewrites are searched"""
    left_out: LeftOut
    """rows that were not written"""

    def head(self) -> str:
        """What stands before the first row, "" if nothing does."""
        ...

    def row(self, row: Rewritten) -> str:
        """The text of one row with its line break; "" where it is not written."""
        ...


@dataclass
class TextFormat:
    """What the text formats share."""

    mode: SearchMode = field(default_factory=SearchMode)
    """how the rewrites are searched"""
    left_out: LeftOut = field(default_factory=LeftOut)
    """rows that were not written"""

    def head(self) -> str:
        """Nothing."""
        return ""


def one_line(text: str) -> str:
    """The text with line breaks, tabs and other control characters as single spaces."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
