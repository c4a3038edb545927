"""Rewrites that are read from a file: of another system, or of a benchmark submission.

    qr evaluate --agent rewrites:submission.csv --json submission.json

Columns `query` and `rewrite`, Parquet, CSV or JSONL; several rows of one query are its rewrites, best first. A query
that the file does not have is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.examples.teacher_rewrites import read_rewrites
from qr_env.common.errors import DataError


class RewritesFromFile:
    """Implements `qr_env.common.protocols.Agent`.

    Args:
        path: the file of rewrites.

    Raises:
        DataError: the file cannot be read, has other columns, or holds no query.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = f"rewrites:{Path(path).name}"
        self.rewrites: dict[str, list[str]] = {}
        for query, rewrite in read_rewrites(path):
            self.rewrites.setdefault(_key(query), []).append(rewrite)
        self.rewrites.pop("", None)
        if not self.rewrites:
            raise DataError(f"{path}: no row has a query")

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The file's rewrites of each query, in the file's order, filled up with "" (keep the query) to `n`."""
        found = (self.rewrites.get(_key(query), []) for query in queries)
        return [[*rewrites[:n], *[""] * (n - len(rewrites))] for rewrites in found]


def _key(query: str) -> str:
    """Queries are matched by their text, ignoring case and repeated spaces."""
    return " ".join(query.casefold().split())
