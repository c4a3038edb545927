"""Rewrites that are read from a file: of another system, or of a benchmark submission.

    qr evaluate --agent rewrites:submission.csv --json submission.json

Columns `query` and `rewrite`, in any format that products may have; several rows of one query are its rewrites, best
first. A query that the file does not have is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.examples.teacher_rewrites import read_rewrites
from qr_env.common.errors import DataError
from qr_env.query_text.kept import plain
from qr_env.shop.readers.load_report import LoadReport, shorten
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop


class RewritesFromFile:
    """Implements `qr_env.common.protocols.Agent`. Queries are matched by their text, ignoring case and repeated spaces.

    Args:
        path: the file of rewrites.
        options: how it is read.
        shop: whose queries the file is for, to be checked; None checks nothing.

    Raises:
        BadRowError: an invalid row that options do not skip.
        DataError: the file cannot be read, has other columns, or holds no query, or none of the shop's.
    """

    def __init__(self, path: str | Path, options: ReadOptions | None = None, shop: Shop | None = None) -> None:
        self.name = f"rewrites:{Path(path).name}"
        self.rewrites: dict[str, list[str]] = {}
        report = LoadReport(options or ReadOptions())
        for query, rewrite in read_rewrites(path, report):
            self.rewrites.setdefault(plain(query), []).append(rewrite)
        if shop is not None and self.rewrites:
            self._check_queries(Path(path), shop, report)
        report.warn(self.name)
        if not self.rewrites:
            raise DataError(f"{path}: no row has a query")

    def _check_queries(self, path: Path, shop: Shop, report: LoadReport) -> None:
        """Note how many of the file's queries the shop does not have, where it is most of them."""
        known = {plain(query.text): query.text for query in shop.all_queries}
        unknown = [text for text in self.rewrites if text not in known]
        if 2 * len(unknown) <= len(self.rewrites) or not known:
            return
        text = (
            f"{len(unknown):,} of its {len(self.rewrites):,} queries are not in {shop!r}: the file says "
            f"{shorten(unknown[0])}, the shop has {shorten(next(iter(known.values())))}"
        )
        if len(unknown) == len(self.rewrites):
            raise DataError(f"{path}: {text}; write the queries as the shop has them")
        report.note(f"{path.name}: {text}")

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The file's rewrites of each query, in the file's order, filled up with "" (keep the query) to `n`."""
        found = (self.rewrites.get(plain(query), []) for query in queries)
        return [[*rewrites[:n], *[""] * (n - len(rewrites))] for rewrites in found]
