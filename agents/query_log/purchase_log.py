"""What shoppers bought for known queries, as a sparse matrix, and what a search finds of it.

    log = PurchaseLog.of(shop, shop.split("train"))
    log.bought_QN                                # (queries, products) 0/1
    log.found(rows, hits)                        # of each query's purchases, how many are among its hits

A shop without purchases has its graded labels instead (Exact and Substitute of these queries), as MiniELM's
query–product graph may (arXiv 2501.18056). Only the queries that are named are read: never those of a test split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import scipy.sparse as sp

from agents.query_log.graph import query_products
from agents.query_log.word_model import telling_words, word_model, words_of
from qr_env.common.protocols import Retriever
from qr_env.common.types import Hits, Query
from qr_env.shop.shop import Shop

DEPTH = 10  # places of a result list that count
TRIED = 400  # train queries among which examples are sought


@dataclass(frozen=True)
class PurchaseLog:
    """queries: Q. bought_QN: (queries, products) CSR, 1 where the product was bought for the query, or its label's
    gain; no query is without any."""

    queries: list[Query]
    bought_QN: sp.csr_matrix

    @classmethod
    def of(cls, shop: Shop, queries: Sequence[Query], outside: bool = False) -> PurchaseLog:
        """The log of these queries, those without any purchase left out.

        outside: only what was bought outside search, where the shop has such purchases. What was bought from a
        query's own result list was found by it, so it cannot tell whether a rewrite finds more (BEQUE's hitrate).
        """
        elsewhere = shop.purchases.filter(pc.equal(shop.purchases["source"], "outside"))
        if outside and len(elsewhere):
            shop = replace(shop, purchases=elsewhere)
        own_QN = query_products(shop, queries, "purchases" if len(shop.purchases) else "labels")
        kept = np.flatnonzero(np.diff(own_QN.indptr))
        return cls([queries[at] for at in kept.tolist()], own_QN[kept])

    def found(self, rows: npt.NDArray[np.int_], hits: Hits) -> npt.NDArray[np.float64]:
        """Share of the purchases of query rows[n] that are among the hits of line n, (N,)."""
        bought_NP = self.bought_QN[rows]
        both_NP = bought_NP.multiply(shown(hits, bought_NP.shape[1]))
        both_N, all_N = (np.asarray(part.sum(axis=1), np.float64).ravel() for part in (both_NP, bought_NP))
        return both_N / all_N


def shown(hits: Hits, products: int) -> sp.csr_matrix:
    """(N, products) 1 where a product is among the hits of a line."""
    lines, places = np.nonzero(hits.found_NK)
    ones = np.ones(len(lines), np.float32)
    return sp.csr_matrix((ones, (lines, hits.rows_NK[lines, places])), shape=(len(hits), products))


def rewrite_examples(shop: Shop, retriever: Retriever, count: int, seed: int = 0) -> list[tuple[str, str]]:
    """(query, rewrite) for a prompt: train queries and the title words that set what was bought for them apart.

    Those whose rewrite finds most purchases that the query does not find, the last one a query that finds its
    purchases as it is and is repeated. Fewer than `count` where the log does not hold so many.
    """
    log = PurchaseLog.of(shop, shop.split("train"))
    drawn = np.random.default_rng(seed).permutation(len(log.queries))[:TRIED]
    queries = [log.queries[at] for at in drawn.tolist()]
    words = telling_words(word_model(shop, queries), queries, most=4)
    titles = [shop.titles[row] for row in log.bought_QN.indices[log.bought_QN.indptr[drawn]].tolist()]
    rewrites = [_in_order(row, title) for row, title in zip(words, titles, strict=True)]
    texts = [query.text for query in queries]
    own = log.found(drawn, retriever.search(texts, DEPTH))
    gain = log.found(drawn, retriever.search(rewrites, DEPTH)) - own
    helped = [(texts[at], rewrites[at]) for at in np.argsort(-gain, kind="stable") if gain[at] > 0]
    fine = [(texts[at], texts[at]) for at in np.argsort(-own, kind="stable") if own[at] > 0 and gain[at] <= 0]
    return _different(helped, count - 1) + fine[:1] if count else []


def _in_order(words: Sequence[str], title: str) -> str:
    """The words as a title of what was bought has them, so that an example reads like a query: "350 l", not "l 350"."""
    place = {word: at for at, word in reversed(list(enumerate(words_of(title))))}
    return " ".join(sorted(words, key=lambda word: place.get(word, len(place))))


def _different(pairs: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """The first pairs whose rewrites share no word: examples of several kinds of products."""
    chosen: list[tuple[str, str]] = []
    for pair in pairs:
        taken = {word for _, rewrite in chosen for word in rewrite.split()}
        if len(chosen) < count and not taken & set(pair[1].split()):
            chosen.append(pair)
    return chosen


def document_examples(shop: Shop, count: int, seed: int = 0) -> list[tuple[str, str]]:
    """(query, title and description of a product bought for it) of train queries drawn by the seed."""
    log = PurchaseLog.of(shop, shop.split("train"))
    drawn = np.random.default_rng(seed).permutation(len(log.queries))[:count]
    products = [shop.product(int(log.bought_QN[at].indices[0])) for at in drawn]
    passages = [f"{product.title}. {product.description}"[:300].rstrip(". ") for product in products]
    return [(log.queries[at].text, passage) for at, passage in zip(drawn.tolist(), passages, strict=True)]
