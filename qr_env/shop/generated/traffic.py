"""How often each query is searched, and what is bought after it.

frequency_N = popularity(queries, random.Random(0))
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

ZIPF = 0.9  # frequency falls as rank to this power
SEARCHES_OF_FIRST = 20_000
SUBSTITUTE_RATE = 0.07  # purchases of something near, rather than of what was asked for
OUTSIDE_RATE = 0.4  # purchases that were not made from a result list of the query


def popularity(queries: Queries, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Searches of each query, whole numbers from 1: Zipf's law, with the broad, short and well-formed in front."""
    words_N = np.array([len(text.split()) for text in queries.texts])
    slips_N = np.array([bool(marks & {"typo", "joined/split", "brand misspelt"}) for marks in queries.marks])
    asked_N = np.array([intent.constraints for intent in queries.intents])
    plain_N = np.array(["plain" in marks for marks in queries.marks])
    charm_N = 0.8 * rng.gumbel(size=len(words_N)) - 0.3 * words_N - 1.2 * asked_N - 1.5 * slips_N + 0.8 * plain_N
    rank_N = np.empty(len(charm_N))
    rank_N[np.argsort(-charm_N, kind="stable")] = 1.0 + np.arange(len(charm_N))
    return np.maximum(1.0, np.round(SEARCHES_OF_FIRST / rank_N**ZIPF))


def draw_purchases(
    stock: Stock, qrels: sp.csr_matrix, frequency_N: npt.NDArray[np.float64], rng: np.random.Generator
) -> pa.Table:
    """Two to ten purchases a query, more for popular ones: mostly Exact, mostly cheap, mostly of liked brands."""
    taste_N = _taste(stock, rng)
    bought_N = np.clip(2 + rng.poisson(np.log2(frequency_N) * 0.6), 2, 10)
    # At least one Exact: there are three or more for every query, while some queries have no Substitute at all.
    near_N = np.minimum(rng.binomial(bought_N, SUBSTITUTE_RATE), bought_N - 1)
    exact = _best(qrels, EXACT, bought_N - near_N, taste_N, rng)
    near = _best(qrels, SUBSTITUTE, near_N, taste_N, rng)
    query_rows, rows = np.concatenate([exact[0], near[0]]), np.concatenate([exact[1], near[1]])
    outside = rng.random(len(rows)) < OUTSIDE_RATE
    columns = [
        np.char.add("Q", np.char.zfill(query_rows.astype("U"), 5)),
        np.char.add("P", np.char.zfill(rows.astype("U"), 6)),
        np.where(outside, "outside", "search"),
    ]
    return pa.table([pa.array(column.tolist()) for column in columns], schema=PURCHASE_SCHEMA)


def _taste(stock: Stock, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """What speaks for each product, in logits: a liked brand, and a price below its type's middle."""
    liked = rng.normal(0.0, 0.7, len(stock.names.brands))
    taste_N: npt.NDArray[np.float64] = liked[stock.brand_N]
    for rows in stock.rows_of_type:
        taste_N[rows] -= np.log(stock.price_N[rows] / np.median(stock.price_N[rows]))
    return taste_N


def _best(
    qrels: sp.csr_matrix,
    level: int,
    count_N: npt.NDArray[np.integer],
    taste_N: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """`count_N` different products of a level a query, drawn by taste (Gumbel top-k): query rows, product rows."""
    query_rows = np.repeat(np.arange(qrels.shape[0]), np.diff(qrels.indptr))
    open_to = (qrels.data == level + 1) & (count_N > 0)[query_rows]
    query_rows, rows = query_rows[open_to], qrels.indices[open_to]
    liking = taste_N[rows] + rng.gumbel(size=len(rows))
    # One key for both orders, by query and then by liking, squeezed into (0, 1): twice as fast as a lexsort.
    order = np.argsort(query_rows + 1.0 / (1.0 + np.exp(liking)), kind="stable")
    query_rows, rows = query_rows[order], rows[order]
    first = np.searchsorted(query_rows, np.arange(qrels.shape[0]))
    place = np.arange(len(rows)) - first[query_rows]
    chosen = place < count_N[query_rows]
    return query_rows[chosen], rows[chosen]
