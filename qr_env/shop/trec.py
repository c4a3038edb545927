"""TREC files, to exchange results with other tools: runs (`query_id Q0 product_id rank score tag`) and topics.

qr evaluate --agent spell --run-out spell.trec        then        trec_eval qrels.trec spell.trec
qr evaluate --run-in other_system.trec
qr evaluate --agent spell --lucene-out topics.tsv     then        search with another engine, which writes a run
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qr_env.common.errors import DataError
from qr_env.common.types import FloatArray, Hits, Query, RowArray
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


def read_run(path: str | Path, shop: Shop, queries: Sequence[Query], k: int = 100) -> tuple[Hits, str]:
    """Read a run file for these queries.

    Sorted by score, best first, ties by the rank column; cut at k. Lines of other queries of the shop are ignored;
    queries without a line get no hits.

    Returns:
        Hits of shape (len(queries), k), and the tag of the first line.

    Raises:
        DataError: no such file, or a line is malformed, names an unknown query or product, or repeats a product.
    """
    lines = _read_lines(Path(path))
    wanted = {query.id: n for n, query in enumerate(queries)}
    known = set(shop.queries["query_id"].to_pylist())
    found: list[dict[int, tuple[float, int]]] = [{} for _ in queries]
    tag = "run"
    for number, line in lines:
        query_id, row, rank, score, line_tag = _parse(f"{path}:{number}", line, shop)
        tag = line_tag if number == lines[0][0] else tag
        if query_id not in known:
            raise DataError(f"{path}:{number}: query {query_id!r} is not in {shop!r}: was the run made for this shop?")
        if query_id not in wanted:
            continue
        of_query = found[wanted[query_id]]
        if row in of_query:
            raise DataError(f"{path}:{number}: query {query_id!r} has the same product twice; keep the better line")
        of_query[row] = (-score, rank)
    return _as_hits(found, k), tag


def _read_lines(path: Path) -> list[tuple[int, str]]:
    if not path.is_file():
        raise DataError(f"run file {path}: no such file")
    text = path.read_text(encoding="utf-8", errors="replace")
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _parse(where: str, line: str, shop: Shop) -> tuple[str, int, int, float, str]:
    columns = line.split()
    if len(columns) != 6:
        raise DataError(f"{where}: {len(columns)} columns, need 6: query_id Q0 product_id rank score tag")
    query_id, _, product_id, rank, score, tag = columns
    if product_id not in shop.product_row:
        raise DataError(f"{where}: product {product_id!r} is not in {shop!r}: was the run made for this shop?")
    try:
        value = float(score)
        place = int(rank)
    except ValueError as error:
        raise DataError(f"{where}: rank {rank!r} must be a whole number and score {score!r} a number") from error
    if not np.isfinite(value):
        raise DataError(f"{where}: score {score!r} must be finite")
    return query_id, shop.product_row[product_id], place, value, tag


def _as_hits(found: list[dict[int, tuple[float, int]]], k: int) -> Hits:
    rows_NK: RowArray = np.full((len(found), k), -1, np.int32)
    scores_NK: FloatArray = np.full((len(found), k), -np.inf, np.float32)
    for n, of_query in enumerate(found):
        best = sorted(of_query.items(), key=lambda item: item[1])[:k]
        rows_NK[n, : len(best)] = [row for row, _ in best]
        scores_NK[n, : len(best)] = [-key[0] for _, key in best]
    return Hits(rows_NK, scores_NK)
