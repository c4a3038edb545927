"""Figures of a shop: sizes, labels, difficulty of its queries for BM25, samples. `qr shop SOURCE` prints them.

    describe(load_shop("icecat"))["difficulty"]

Words are the index terms of `qr_env.language.tokenize` (stemmed, without stop words), so the figures show
what this project's BM25 can and cannot find.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from qr_env.common.types import EXACT, GAINS, LEVELS, SUBSTITUTE, Query
from qr_env.retrieval.bm25 import BM25
from qr_env.reward import metrics
from qr_env.shop.shop import SPLITS, Shop
from qr_env.shop.slices import traffic_slices

Mask = npt.NDArray[np.bool_]
DEPTH = 100


def describe(shop: Shop, split: str = "all", samples: int = 3, seed: int = 0) -> dict[str, Any]:
    """Everything that `qr shop` prints, as JSON values.

    "unknown word" and "no product has all words" cover all fields that BM25 indexes, "no title has all words" only
    titles.

    Args:
        split: "train", "dev", "test", or "all" for every split.
        samples: number of sample queries of each slice, drawn with the seed.

    Returns:
        name, hash, language (with what tells it), products, queries, labels, purchases, difficulty (a row for each
        split, then one for each slice of the chosen queries), samples, report (of the loader; None for a shop made in
        memory). Shares are in [0, 1]; nDCG@10 and R@100 are means over the queries that have labels, None where there
        are none.
    """
    queries = [query for query in shop.all_queries if split in ("all", query.split)]
    slices = _slices(shop, queries)
    return {
        "name": shop.name,
        "hash": shop.hash,
        "language": (shop.report and shop.report.language) or f"{shop.tokenizer.language.name} ({shop.language})",
        "products": _products(shop),
        "queries": _queries(shop),
        "labels": _labels(shop),
        "purchases": _purchases(shop),
        "difficulty": _difficulty(shop, queries, slices),
        "samples": _samples(shop, queries, slices, samples, seed),
        "report": shop.report.to_json() if shop.report else None,
    }


def word_gaps(bm25: BM25, texts: Sequence[str]) -> tuple[Mask, Mask]:
    """Whether a text has a word that no product has, and whether no product has all its words; (N,) bool each.

    Intersects the postings of the text's words, the rarest first.
    """
    scores = bm25.engine.scores
    indices, indptr = np.asarray(scores["indices"]), np.asarray(scores["indptr"])
    postings = sp.csc_matrix((np.ones(len(indices), np.int8), indices, indptr), (bm25.num_docs, len(indptr) - 1))
    postings.sort_indices()
    ids_N = [[bm25.engine.vocab_dict.get(term) for term in set(bm25.tokens(text))] for text in texts]
    unknown_N = np.array([None in ids for ids in ids_N], bool)
    no_product_N = [
        None in ids or not _any_product_has_all(postings, [at for at in ids if at is not None]) for ids in ids_N
    ]
    return unknown_N, np.array(no_product_N, bool)


def _any_product_has_all(postings: sp.csc_matrix, ids: list[int]) -> bool:
    lists = [postings.indices[postings.indptr[at] : postings.indptr[at + 1]] for at in ids]
    lists.sort(key=len)
    if not lists:
        return True
    left = lists[0]
    for longer in lists[1:]:
        if not len(left):
            return False
        at = np.minimum(np.searchsorted(longer, left), len(longer) - 1)
        left = left[longer[at] == left]
    return len(left) > 0


def _slices(shop: Shop, queries: list[Query]) -> dict[str, Mask]:
    """Traffic slices and the shop's own, over the chosen queries, without empty ones."""
    rows = np.array([query.row for query in queries], np.int64)
    found = {name: mask[rows] for name, mask in (traffic_slices(shop) | shop.slices).items()}
    return {name: mask for name, mask in found.items() if mask.any()}


def _products(shop: Shop) -> dict[str, Any]:
    """Number of products, mean words a title, and the share of products where each optional column is known."""
    table = shop.products
    known = {name: float(np.mean(_known(table[name]))) if len(table) else 0.0 for name in table.column_names[2:]}
    lengths = [title.count(" ") + 1 for title in shop.titles[:100_000]]
    return {"products": len(table), "title words": float(np.mean(lengths)) if lengths else 0.0, "known": known}


def _known(column: pa.ChunkedArray) -> Mask:
    """True where the column has a value."""
    values = column.to_numpy()
    return ~np.isnan(values) if values.dtype.kind == "f" else values != ""


def _queries(shop: Shop) -> dict[str, dict[str, float]]:
    splits = np.asarray(shop.queries["split"].to_pylist(), dtype=str)
    frequency = shop.queries["frequency"].to_numpy()
    graded = np.diff(shop.qrels.indptr) > 0
    return {
        name: {
            "queries": int((splits == name).sum()),
            "searches": float(frequency[splits == name].sum()),
            "with labels": int((graded & (splits == name)).sum()),
        }
        for name in SPLITS
    }


def _labels(shop: Shop) -> dict[str, Any]:
    counts = np.bincount(shop.qrels.data, minlength=5)[1:] if shop.qrels.nnz else np.zeros(4, int)
    levels = {level: int(count) for level, count in zip(LEVELS, counts, strict=True)}
    return {"pairs": int(shop.qrels.nnz), "complete": shop.qrels_complete, "levels": levels}


def _purchases(shop: Shop) -> dict[str, int]:
    sources = shop.purchases["source"].to_pylist()
    return {source: sources.count(source) for source in ("search", "outside")}


def _difficulty(shop: Shop, queries: list[Query], slices: dict[str, Mask]) -> list[dict[str, Any]]:
    if not queries:
        return []
    bm25 = BM25.build(shop, show_progress=len(shop.products) > 100_000)
    texts = [query.text for query in queries]
    unknown_N, none_N = word_gaps(bm25, texts)
    titles = BM25.build(shop, fields=(("title", 1),))
    figures: dict[str, npt.NDArray[Any]] = {
        "unknown word": unknown_N,
        "no product has all words": none_N,
        "no title has all words": word_gaps(titles, texts)[1],
        **_found(shop, queries, bm25),
    }
    splits = np.array([query.split for query in queries])
    groups = [(name, "all", splits == name) for name in SPLITS if name in splits]
    split_name = groups[0][0] if len(groups) == 1 else "all"
    groups += [(split_name, name, mask) for name, mask in slices.items()]
    return [
        {"split": split, "slice": name, "queries": int(mask.sum())}
        | {figure: _mean(values[mask]) for figure, values in figures.items()}
        for split, name, mask in groups
    ]


def _found(shop: Shop, queries: list[Query], bm25: BM25) -> dict[str, npt.NDArray[np.floating]]:
    """Share with no hit, nDCG@10 and R@100 (of Exact products) of the original query; NaN where it has no labels."""
    rows_N = np.array([query.row for query in queries], np.int64)
    hits = bm25.search([query.text for query in queries], min(DEPTH, len(shop.products)))
    levels_NK = shop.levels(rows_N, hits.rows_NK)
    qrels = shop.qrels[rows_N]
    labelled_N = np.diff(qrels.indptr) > 0
    exact_N = np.asarray((qrels == EXACT + 1).sum(axis=1)).ravel()
    ndcg_N = metrics.ndcg(GAINS[np.maximum(levels_NK, 0)], metrics.ideal_dcg(qrels))
    recall_N = metrics.recall(levels_NK == EXACT, exact_N, DEPTH)
    return {
        "no hit": (~hits.found_NK.any(axis=1)).astype(float),
        "nDCG@10": np.where(labelled_N, ndcg_N, np.nan),
        "R@100": np.where(labelled_N, recall_N, np.nan),
    }


def _mean(values: npt.NDArray[Any]) -> float | None:
    values = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    return float(values.mean()) if len(values) else None


def _samples(shop: Shop, queries: list[Query], slices: dict[str, Mask], count: int, seed: int) -> list[dict[str, Any]]:
    """Sample queries of every slice (of all, if there are no slices), each with the title of a relevant product."""
    generator = np.random.default_rng(seed)
    rows = []
    for name, mask in (slices or {"all": np.ones(len(queries), bool)}).items():
        chosen = generator.permutation(np.flatnonzero(mask))[:count]
        for query in (queries[at] for at in chosen):
            sample = {"slice": name, "split": query.split, "query": query.text, "frequency": query.frequency}
            sample["relevant title"] = _relevant_title(shop, query)
            rows.append(sample | ({"oracle": shop.oracle[query.id]} if query.id in shop.oracle else {}))
    return rows


def _relevant_title(shop: Shop, query: Query) -> str | None:
    """Title of the product with the best grade, if it is Exact or Substitute."""
    start, end = shop.qrels.indptr[query.row : query.row + 2]
    if start == end:
        return None
    best = start + int(np.argmax(shop.qrels.data[start:end]))
    return shop.titles[shop.qrels.indices[best]] if shop.qrels.data[best] > SUBSTITUTE else None
