"""The frequency of each query, and purchases.

rng = np.random.default_rng(0)
frequency_N = popularity(queries, rng)
purchases = draw_purchases(stock, qrels, frequency_N, rng)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from qr_env.common.types import EXACT, SUBSTITUTE
from qr_env.shop.generated.products import Stock
from qr_env.shop.generated.queries import Queries
from qr_env.shop.shop import PURCHASE_SCHEMA

ZIPF = 0.9  # exponent s of frequency ∝ rank⁻ˢ
SEARCHES_OF_FIRST = 20_000
SUBSTITUTE_RATE = 0.07  # share of purchases that are Substitutes
OUTSIDE_RATE = 0.4  # share of purchases not made from a result list of the query


def popularity(queries: Queries, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Searches of each query, whole numbers from 1: Zipf's law; broad, short, well-formed queries tend to be first."""
    words_N = np.array([len(text.split()) for text in queries.texts])
    noisy_N = np.array([bool(flags & {"typo", "joined/split", "brand misspelt"}) for flags in queries.flags])
    constraints_N = np.array([intent.constraints for intent in queries.intents])
    plain_N = np.array(["plain" in flags for flags in queries.flags])
    popularity_N = (
        0.8 * rng.gumbel(size=len(words_N)) - 0.3 * words_N - 1.2 * constraints_N - 1.5 * noisy_N + 0.8 * plain_N
    )
    rank_N = np.empty(len(popularity_N))
    rank_N[np.argsort(-popularity_N, kind="stable")] = 1.0 + np.arange(len(popularity_N))
    return np.maximum(1.0, np.round(SEARCHES_OF_FIRST / rank_N**ZIPF))


def draw_purchases(
    stock: Stock, qrels: sp.csr_matrix, frequency_N: npt.NDArray[np.float64], rng: np.random.Generator
) -> pa.Table:
    """Two to ten purchases a query, more for popular ones: mostly Exact, mostly cheap, mostly of liked brands."""
    preference_C = _preferences(stock, rng)
    count_N = np.clip(2 + rng.poisson(np.log2(frequency_N) * 0.6), 2, 10)
    # At least one Exact: there are three or more for every query, while some queries have no Substitute at all.
    substitutes_N = np.minimum(rng.binomial(count_N, SUBSTITUTE_RATE), count_N - 1)
    exact = _draw_products(qrels, EXACT, count_N - substitutes_N, preference_C, rng)
    near = _draw_products(qrels, SUBSTITUTE, substitutes_N, preference_C, rng)
    query_rows, rows = np.concatenate([exact[0], near[0]]), np.concatenate([exact[1], near[1]])
    outside = rng.random(len(rows)) < OUTSIDE_RATE
    columns = [
        np.char.add("Q", np.char.zfill(query_rows.astype("U"), 5)),
        np.char.add("P", np.char.zfill(rows.astype("U"), 6)),
        np.where(outside, "outside", "search"),
    ]
    return pa.table([pa.array(column.tolist()) for column in columns], schema=PURCHASE_SCHEMA)


def _preferences(stock: Stock, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """(C,) preference of shoppers for each product, in logits: by brand, and by price relative to its type's median."""
    liked = rng.normal(0.0, 0.7, len(stock.names.brands))
    preference_C: npt.NDArray[np.float64] = liked[stock.brand_C]
    for rows in stock.rows_of_type:
        preference_C[rows] -= np.log(stock.price_C[rows] / np.median(stock.price_C[rows]))
    return preference_C


def _draw_products(
    qrels: sp.csr_matrix,
    level: int,
    count_N: npt.NDArray[np.integer],
    preference_C: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """`count_N` different products of a level per query, drawn by preference (Gumbel top-k): query and product rows."""
    query_rows = np.repeat(np.arange(qrels.shape[0]), np.diff(qrels.indptr))
    candidates = (qrels.data == level + 1) & (count_N > 0)[query_rows]
    query_rows, rows = query_rows[candidates], qrels.indices[candidates]
    score = preference_C[rows] + rng.gumbel(size=len(rows))
    # One sort key: query row plus the score mapped into (0, 1); twice as fast as a lexsort.
    order = np.argsort(query_rows + 1.0 / (1.0 + np.exp(score)), kind="stable")
    query_rows, rows = query_rows[order], rows[order]
    first = np.searchsorted(query_rows, np.arange(qrels.shape[0]))
    place = np.arange(len(rows)) - first[query_rows]
    chosen = place < count_N[query_rows]
    return query_rows[chosen], rows[chosen]
