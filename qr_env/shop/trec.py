"""TREC files, to exchange results with other tools: runs (`query_id Q0 product_id rank score tag`) and topics.

qr evaluate --agent spell --run-out spell.trec        then        trec_eval qrels.trec spell.trec
qr evaluate --run-in other_system.trec
qr evaluate --agent spell --lucene-out topics.tsv     then        search with another engine, which writes a run
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from qr_env.common.errors import DataError
from qr_env.common.types import FloatArray, Hits, Query, RowArray
from qr_env.shop.likely_reason import why_unknown
from qr_env.shop.readers.chunks import Problem, excerpt
from qr_env.shop.readers.formats.opening.table_file import open_table
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop


def write_run(path: str | Path, shop: Shop, queries: Sequence[Query], hits: Hits, tag: str) -> Path:
    """Write the hits of N queries as a run file; queries without hits have no line.

    trec_eval ignores the rank column and breaks ties by product id, so equal scores are written one float32 step apart
    to keep the order.

    Raises:
        DataError: an id contains white space, which the format does not allow.
    """
    ids = shop.products["product_id"].to_pylist()
    scores_NK = strictly_decreasing(hits.scores_NK)
    tag = "_".join(tag.split()) or "run"
    lines = [
        f"{_column(query.id)} Q0 {_column(ids[row])} {rank} {score!s} {tag}\n"
        for query, rows_K, scores_K in zip(queries, hits.rows_NK, scores_NK, strict=True)
        for rank, (row, score) in enumerate(zip(rows_K[rows_K >= 0], scores_K[rows_K >= 0], strict=True), start=1)
    ]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(lines), encoding="utf-8")
    return Path(path)


def write_topics(path: str | Path, queries: Sequence[Query], strings: Sequence[str]) -> Path:
    """Write one line a query, `query_id`, a tab and its query string, as Anserini and Pyserini read topics.

    Raises:
        DataError: an id contains white space, or a string a tab or a line break, which the format does not allow.
    """
    for query, string in zip(queries, strings, strict=True):
        if set(string) & set("\t\r\n"):
            raise DataError(f"query string {string!r} of {query.id!r} has a tab or a line break; write spaces instead")
    lines = [f"{_column(query.id)}\t{string}\n" for query, string in zip(queries, strings, strict=True)]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(lines), encoding="utf-8")
    return Path(path)


def strictly_decreasing(scores_NK: FloatArray) -> FloatArray:
    """The scores with each one lowered, if needed, to one float32 step below the one before it."""
    decreasing_NK = np.array(scores_NK, np.float32)
    for at in range(1, decreasing_NK.shape[1]):
        ceiling_N = np.nextafter(decreasing_NK[:, at - 1], np.float32(-np.inf))
        decreasing_NK[:, at] = np.minimum(decreasing_NK[:, at], ceiling_N)
    return decreasing_NK


def _column(name: str) -> str:
    if not name or any(char.isspace() for char in name):
        raise DataError(f"id {name!r} is empty or contains white space, not allowed in a TREC file; rename it")
    return name


UNKNOWN_QUERY, UNKNOWN_PRODUCT = "the query is not in", "the product is not in"
SIX = "query_id Q0 product_id rank score tag"


@dataclass(frozen=True, slots=True)
class RunLine:
    """A line of a run."""

    query_id: str
    """Id of the query."""
    row: int
    """Row of the product."""
    rank: int
    """Rank as written."""
    score: float
    """Score as written; of a file without scores, minus the rank."""
    tag: str
    """Name of the run; "" where the line has none."""


def read_run(
    path: str | Path, shop: Shop, queries: Sequence[Query], k: int = 100, options: ReadOptions | None = None
) -> tuple[Hits, str]:
    """Read a run file for these queries: TREC's six columns, or MS MARCO's three (query_id product_id rank).

    Sorted by score, best first, ties by the rank column; cut at k. Lines of other queries of the shop are ignored;
    queries without a line get no hits. Of lines of the shop's queries file that were joined (`Shop.joined_ids`), the
    list of the first is read. The file may be packed.

    Args:
        options: how the file is read; a line that they skip is left out and logged.

    Returns:
        Hits of shape (len(queries), k), and the tag of the first line.

    Raises:
        BadRowError: a line is malformed, names an unknown query or product, or repeats a product.
        DataError: no such file, or no line of it can be used.
    """
    path, report = Path(path), LoadReport(options or ReadOptions())
    wanted = {query.id: n for n, query in enumerate(queries)}
    found: list[dict[int, tuple[float, int]]] = [{} for _ in queries]
    joined = dict(zip(*(shop.joined_ids[name].to_pylist() for name in ("id", "query_id")), strict=True))
    known = frozenset([*shop.queries["query_id"].to_pylist(), *joined])
    first_id: dict[str, str] = {}  # query → the id, of those joined to it, whose list is read
    tag, kept = "", 0
    problems: list[Problem] = []
    for number, text in _read_lines(path, report):
        line = _parse(text, shop, known)
        of_query: dict[int, tuple[float, int]] = {}
        if isinstance(line, RunLine):
            name = joined.get(line.query_id, line.query_id)
            if name in wanted and first_id.setdefault(name, line.query_id) == line.query_id:
                of_query = found[wanted[name]]
        if isinstance(line, RunLine) and line.row in of_query:
            line = "a query has the same product twice (keep the better line)"
        if isinstance(line, str):
            problems.append((number, line if problems else _explained(line, text, shop), excerpt(text)))
        else:
            tag, kept = tag or line.tag, kept + 1
            of_query[line.row] = (-line.score, line.rank)
    report.rows[str(path)], report.kept[str(path)] = kept + len(problems), kept
    report.add(str(path), problems)
    if not kept:
        raise DataError(
            f"{path}: no usable line. {report.summary() or 'A run has query_id Q0 product_id rank score tag'}"
        )
    report.warn(str(path))
    return _as_hits(found, k), tag or "run"


def _read_lines(path: Path, report: LoadReport) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, with their numbers."""
    with open_table(path, report.options.encoding).text(newline=None) as handle:
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield number, line


def _parse(text: str, shop: Shop, known: frozenset[str]) -> RunLine | str:
    """A line of a run, or the reason why it is none."""
    columns = text.split()
    if len(columns) not in (3, 6):
        return f"{len(columns)} columns (a run has {SIX}, or query_id product_id rank)"
    query_id, product_id = columns[0], columns[1 if len(columns) == 3 else 2]
    rank, score, tag = (columns[2], f"-{columns[2]}", "") if len(columns) == 3 else columns[3:]
    if query_id not in known:
        return f"{UNKNOWN_QUERY} {shop!r} (was the run made for this shop?)"
    if product_id not in shop.product_row:
        return f"{UNKNOWN_PRODUCT} {shop!r} (was the run made for this shop?)"
    try:
        place, value = int(rank), float(score)
    except ValueError:
        return "the rank must be a whole number and the score a number"
    if not np.isfinite(value):
        return "the score must be finite"
    return RunLine(query_id, shop.product_row[product_id], place, value, tag)


def _explained(reason: str, text: str, shop: Shop) -> str:
    """The reason with an id that the shop has, and why it may differ, where the line names an unknown id."""
    columns = text.split()
    if reason.startswith(UNKNOWN_QUERY):
        name, known = columns[0], shop.queries["query_id"]
    elif reason.startswith(UNKNOWN_PRODUCT):
        name, known = columns[1 if len(columns) == 3 else 2], shop.products["product_id"]
    else:
        return reason
    _, theirs, why = why_unknown(pa.array([name]), known.combine_chunks())
    return f"{reason[:-1]} It says {name!r}, the shop has {theirs!r}{f'; {why}' if why else ''})"


def _as_hits(found: list[dict[int, tuple[float, int]]], k: int) -> Hits:
    rows_NK: RowArray = np.full((len(found), k), -1, np.int32)
    scores_NK: FloatArray = np.full((len(found), k), -np.inf, np.float32)
    for n, of_query in enumerate(found):
        best = sorted(of_query.items(), key=lambda item: item[1])[:k]
        rows_NK[n, : len(best)] = [row for row, _ in best]
        scores_NK[n, : len(best)] = [-key[0] for _, key in best]
    return Hits(rows_NK, scores_NK)
