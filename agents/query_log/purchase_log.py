"""Purchases of known queries as a sparse matrix, and the share of them that a search finds.

    log = PurchaseLog.of(shop, shop.split("train"))
    log.bought_PC                                # (queries, products) 0/1
    log.found_share(rows, hits)                  # share of each query's purchases among its hits

For a shop without purchases the graded labels (Exact and Substitute) of these queries take their place, as in MiniELM's
query–product graph (arXiv 2501.18056). Only the given queries are read, never those of a test split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import scipy.sparse as sp

from agents.query_log.graph import query_products
from agents.query_log.word_model import distinctive_words, word_model, words_of
from qr_env.common.protocols import Retriever
from qr_env.common.types import Hits, Query
from qr_env.language.tokenize import Tokenizer
from qr_env.shop.shop import Shop

DEPTH = 10  # products of a result list that count
SAMPLED_QUERIES = 400  # train queries from which few-shot examples are chosen


@dataclass(frozen=True)
class PurchaseLog:
    """P queries and their purchases; every query has at least one."""

    queries: list[Query]
    """P queries."""
    bought_PC: sp.csr_matrix
    """(queries, products) 1 where the product was bought for the query; for labels their gain."""

    @classmethod
    def of(cls, shop: Shop, queries: Sequence[Query], outside: bool = False) -> PurchaseLog:
        """The log of these queries, without those that have no purchase.

        Args:
            outside: read only purchases outside search, if the shop has such purchases. A purchase from the query's own
                result list was found by the query, so it cannot show that a rewrite finds more (BEQUE's hitrate).
        """
        bought_outside = shop.purchases.filter(pc.equal(shop.purchases["source"], "outside"))
        if outside and len(bought_outside):
            shop = replace(shop, purchases=bought_outside)
        bought_PC = query_products(shop, queries, "purchases" if len(shop.purchases) else "labels")
        kept = np.flatnonzero(np.diff(bought_PC.indptr))
        return cls([queries[at] for at in kept.tolist()], bought_PC[kept])

    def found_share(self, rows: npt.NDArray[np.int_], hits: Hits) -> npt.NDArray[np.float64]:
        """(N,) share of the purchases of query rows[n] that are among hits n."""
        bought_NC = self.bought_PC[rows]
        found_NC = bought_NC.multiply(found_products(hits, bought_NC.shape[1]))
        both_N, all_N = (np.asarray(part.sum(axis=1), np.float64).ravel() for part in (found_NC, bought_NC))
        return both_N / all_N


def found_products(hits: Hits, products: int) -> sp.csr_matrix:
    """(N, products) 1 where a product is among hits n."""
    lines, places = np.nonzero(hits.found_NK)
    ones = np.ones(len(lines), np.float32)
    return sp.csr_matrix((ones, (lines, hits.rows_NK[lines, places])), shape=(len(hits), products))


def rewrite_examples(shop: Shop, retriever: Retriever, count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Few-shot examples (query, rewrite): train queries and the distinctive title words of their purchases.

    The rewrites that most increase the share of found purchases come first; the last example is a query that finds its
    purchases unchanged, and is repeated. Fewer than `count` if the log has fewer.
    """
    log = PurchaseLog.of(shop, shop.split("train"))
    drawn = np.random.default_rng(seed).permutation(len(log.queries))[:SAMPLED_QUERIES]
    queries = [log.queries[at] for at in drawn.tolist()]
    words = distinctive_words(word_model(shop, queries), queries, most=4)
    titles = [shop.titles[row] for row in log.bought_PC.indices[log.bought_PC.indptr[drawn]].tolist()]
    rewrites = [_in_title_order(row, title, shop.tokenizer) for row, title in zip(words, titles, strict=True)]
    texts = [query.text for query in queries]
    own = log.found_share(drawn, retriever.search(texts, DEPTH))
    gain = log.found_share(drawn, retriever.search(rewrites, DEPTH)) - own
    helped = [(texts[at], rewrites[at]) for at in np.argsort(-gain, kind="stable") if gain[at] > 0]
    fine = [(texts[at], texts[at]) for at in np.argsort(-own, kind="stable") if own[at] > 0 and gain[at] <= 0]
    return _without_common_words(helped, count - 1) + fine[:1] if count else []


def _in_title_order(words: Sequence[str], title: str, tokenizer: Tokenizer) -> str:
    """The words in the order of a bought title, so that the example reads like a query: "350 l", not "l 350"."""
    place = {word: at for at, word in reversed(list(enumerate(words_of(title, tokenizer))))}
    return " ".join(sorted(words, key=lambda word: place.get(word, len(place))))


def _without_common_words(pairs: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """The first `count` pairs whose rewrites share no word, for examples of different kinds of products."""
    chosen: list[tuple[str, str]] = []
    for pair in pairs:
        taken = {word for _, rewrite in chosen for word in rewrite.split()}
        if len(chosen) < count and not taken & set(pair[1].split()):
            chosen.append(pair)
    return chosen


def document_examples(shop: Shop, count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Few-shot examples (query, title and description of a bought product) of train queries drawn by the seed."""
    log = PurchaseLog.of(shop, shop.split("train"))
    drawn = np.random.default_rng(seed).permutation(len(log.queries))[:count]
    products = [shop.product(int(log.bought_PC[at].indices[0])) for at in drawn]
    passages = [f"{product.title}. {product.description}"[:300].rstrip(". ") for product in products]
    return [(log.queries[at].text, passage) for at, passage in zip(drawn.tolist(), passages, strict=True)]
