"""Statistics of the titles bought for queries, and the rewrites that a query log suggests.

    model = word_model(shop, train)
    candidates(model, train)             # "couch" → ["sofa lindholm", "sofa", …]

The suggested words are those of titles bought for the query itself, and of titles bought for other queries with the
same words (a "sofa" was bought for "couch").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from qr_env.common.types import FloatArray, Query
from qr_env.language.tokenize import Tokenizer
from qr_env.shop.shop import Shop

WORD = re.compile(r"[^\W_]+")
STOP = frozenset(
    ["a", "an", "and", "by", "for", "from", "in", "no", "not", "of", "on", "or", "the", "to", "with", "without"]
)


@dataclass(frozen=True)
class WordModel:
    """How often title words were bought for P queries and for their words."""

    query_words: dict[str, int]
    """Vocabulary of the queries: word → row of `given_VV`."""
    title_words: dict[str, int]
    """Vocabulary of the titles: word → column of `bought_PV` and `given_VV`, entry of `common_V`."""
    bought_PV: sp.csr_matrix
    """(queries, title words) share of the titles bought for a query that hold the word."""
    given_VV: sp.csr_matrix
    """(query words, title words) the same over the titles bought for all queries that hold the query word."""
    common_V: FloatArray
    """(title words,) share of all titles that hold the word."""
    row_of: dict[str, int]
    """Query id → row of `bought_PV`."""
    tokenizer: Tokenizer
    """Of the shop's language."""


def words_of(text: str, tokenizer: Tokenizer) -> list[str]:
    """Distinct lower-case words of a text, in order, without stop words."""
    if tokenizer.language.code == "en":
        return [word for word in dict.fromkeys(WORD.findall(text.lower())) if word not in STOP]
    return [word for word in dict.fromkeys(tokenizer.words(text)) if word not in tokenizer.stop_words]


def _incidence(texts: Sequence[str], tokenizer: Tokenizer) -> tuple[sp.csr_matrix, dict[str, int]]:
    """(texts, words) 0/1 matrix and word → column."""
    column: dict[str, int] = {}
    rows = [[column.setdefault(word, len(column)) for word in words_of(text, tokenizer)] for text in texts]
    return incidence(rows, max(len(column), 1)), column


def incidence(rows: Sequence[Sequence[int]], width: int) -> sp.csr_matrix:
    """(rows, width) matrix with a 1 in the given columns of each row."""
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.fromiter((i for row in rows for i in row), np.int32, count=int(indptr[-1]))
    return sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), width))


def _row_shares(counts: sp.csr_matrix, totals: FloatArray) -> sp.csr_matrix:
    return sp.diags(1.0 / np.maximum(totals, 1.0)).dot(counts).tocsr().astype(np.float32)


def word_model(shop: Shop, queries: Sequence[Query]) -> WordModel:
    """The statistics of these queries; only their own purchases are read."""
    row_of = {query.id: i for i, query in enumerate(queries)}
    bought = shop.purchases_of(queries)
    titles, title_words = _incidence(shop.titles, shop.tokenizer)
    texts, query_words = _incidence([query.text for query in queries], shop.tokenizer)
    ones = np.ones(len(bought[0]), np.float32)
    bought_PC = sp.csr_matrix((ones, bought), shape=(len(queries), len(shop.titles)))
    counts_PV = (bought_PC @ titles).tocsr()
    totals_N = np.asarray(bought_PC.sum(axis=1), np.float32).ravel()
    counts_VV, totals_V = (texts.T @ counts_PV).tocsr(), texts.T @ totals_N
    title_share_V = np.asarray(titles.sum(axis=0)).ravel() / max(len(shop.titles), 1)
    common_V = np.maximum(title_share_V, 1e-6).astype(np.float32)
    shares = _row_shares(counts_PV, totals_N), _row_shares(counts_VV, totals_V)
    return WordModel(query_words, title_words, *shares, common_V, row_of, shop.tokenizer)


def candidates(model: WordModel, queries: Sequence[Query], most: int = 3, rarest: float = 0.0) -> list[list[str]]:
    """Rewrites (words to add) that the log suggests for queries of the model, at most a dozen each.

    Words are ranked by share × log(share / share in all titles), their contribution to the Kullback–Leibler divergence
    of the bought titles from all titles. Three rankings are made: by the query's own purchases, by the purchases of its
    words, and by the sum of both. Of each ranking the best `most` words are candidates, each alone and the best two …
    `most` together.

    Args:
        most: longest candidate, in words.
        rarest: least share of all titles that must hold a word; rarer words are names of single products.
    """
    names = np.array(list(model.title_words))
    column = model.query_words
    known = [[column[word] for word in words_of(query.text, model.tokenizer) if word in column] for query in queries]
    texts_PV = incidence(known, max(len(column), 1))
    length_P = np.maximum(np.asarray(texts_PV.sum(axis=1), np.float32).ravel(), 1.0)
    related_PV = _row_shares(texts_PV @ model.given_VV, length_P)
    own_words = [frozenset(words_of(query.text, model.tokenizer)) for query in queries]
    results = []
    for i, query in enumerate(queries):
        own, related = model.bought_PV[model.row_of[query.id]], related_PV[i]
        parts = own, related, own + related
        ranked = [_best_words(part, model.common_V, names, own_words[i], most, rarest) for part in parts]
        texts = [" ".join(words[:length]) for words in ranked for length in range(2, len(words) + 1)]
        texts += [word for words in ranked for word in words]
        results.append(list(dict.fromkeys(texts)))
    return results


def distinctive_words(model: WordModel, queries: Sequence[Query], most: int) -> list[list[str]]:
    """For each query of the model up to `most` title words that distinguish its purchases from the catalogue.

    A word must be in half of the bought titles. The query's own words are not excluded.
    """
    names = np.array(list(model.title_words))
    common = model.bought_PV.copy()
    common.data = np.where(common.data >= 0.5, common.data, 0.0).astype(np.float32)
    common.eliminate_zeros()
    return [_best_words(common[i], model.common_V, names, frozenset(), most) for i in range(len(queries))]


def _best_words(
    row: sp.csr_matrix, common_V: FloatArray, names: np.ndarray, own: frozenset[str], most: int, rarest: float = 0.0
) -> list[str]:
    """The best title words of one row of shares, ranked as in `candidates`, without `own` and rare words."""
    score = row.data * np.log(np.maximum(row.data, 1e-9) / common_V[row.indices])
    ranked = row.indices[np.argsort(-score, kind="stable")]
    order = ranked[common_V[ranked] >= rarest][: most + len(own)]
    return [word for word in names[order].tolist() if word not in own][:most]
