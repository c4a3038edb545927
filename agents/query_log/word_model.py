"""What the titles of bought products say about queries, and the words that a log suggests for them.

    model = word_model(shop, train)
    candidates(model, train)             # "couch" → ["sofa lindholm", "sofa", …]

The rewrites that a log suggests are the title words of what was bought for the query itself, and those that go with
its words in other queries ("couch" was bought as "sofa").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from qr_env.common.types import FloatArray, Query
from qr_env.shop.shop import Shop

WORD = re.compile(r"[^\W_]+")
STOP = frozenset(
    ["a", "an", "and", "by", "for", "from", "in", "no", "not", "of", "on", "or", "the", "to", "with", "without"]
)


@dataclass(frozen=True)
class WordModel:
    """What bought titles say about queries. `query_words_Q`, `title_words_T`: vocabularies, word → column.

    bought_N_T: (queries, title words) share of a query's bought titles that hold the word. given_Q_T: (query words,
    title words) the same for all queries that hold a query word. common_T: share of all titles with the word.
    row_of: query id → N.
    """

    query_words_Q: dict[str, int]
    title_words_T: dict[str, int]
    bought_N_T: sp.csr_matrix
    given_Q_T: sp.csr_matrix
    common_T: FloatArray
    row_of: dict[str, int]


def words_of(text: str) -> list[str]:
    """Lower-case words of a text, in order, each once, without stop words."""
    return [word for word in dict.fromkeys(WORD.findall(text.lower())) if word not in STOP]


def _incidence(texts: Sequence[str]) -> tuple[sp.csr_matrix, dict[str, int]]:
    """(texts, words) 0/1 matrix and word → column."""
    column: dict[str, int] = {}
    rows = [[column.setdefault(word, len(column)) for word in words_of(text)] for text in texts]
    return incidence(rows, max(len(column), 1)), column


def incidence(rows: Sequence[Sequence[int]], width: int) -> sp.csr_matrix:
    """(rows, width) matrix with a 1 in the columns that each row names."""
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.fromiter((i for row in rows for i in row), np.int32, count=int(indptr[-1]))
    return sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), width))


def _row_shares(counts: sp.csr_matrix, totals: FloatArray) -> sp.csr_matrix:
    return sp.diags(1.0 / np.maximum(totals, 1.0)).dot(counts).tocsr().astype(np.float32)


def word_model(shop: Shop, queries: Sequence[Query]) -> WordModel:
    """Count which title words are bought for which queries and query words; only `queries`' own purchases are read."""
    row_of = {query.id: i for i, query in enumerate(queries)}
    bought = shop.purchases_of(queries)
    titles, title_words = _incidence(shop.titles)
    texts, query_words = _incidence([query.text for query in queries])
    ones = np.ones(len(bought[0]), np.float32)
    bought_N_P = sp.csr_matrix((ones, bought), shape=(len(queries), len(shop.titles)))
    counts_N_T = (bought_N_P @ titles).tocsr()
    totals_N = np.asarray(bought_N_P.sum(axis=1), np.float32).ravel()
    counts_Q_T, totals_Q = (texts.T @ counts_N_T).tocsr(), texts.T @ totals_N
    document_share_T = np.asarray(titles.sum(axis=0)).ravel() / max(len(shop.titles), 1)
    common_T = np.maximum(document_share_T, 1e-6).astype(np.float32)
    return WordModel(
        query_words, title_words, _row_shares(counts_N_T, totals_N), _row_shares(counts_Q_T, totals_Q), common_T, row_of
    )


def candidates(model: WordModel, queries: Sequence[Query], most: int = 3, rarest: float = 0.0) -> list[list[str]]:
    """Rewrites (words to add) that the log suggests for queries that `model` was made from.

    A word is worth share × log(share / share in all titles), what it adds to the divergence of the bought titles from
    the shop's. The best `most` words of the query's own purchases, of its words' purchases, and of both: each alone,
    and the best two … `most` together. Words in a smaller share of all titles than `rarest` are no words but names of
    single products, and are left out.
    """
    names = np.array(list(model.title_words_T))
    column = model.query_words_Q
    known = [[column[word] for word in words_of(query.text) if word in column] for query in queries]
    texts_N_Q = incidence(known, max(len(column), 1))
    length_N = np.maximum(np.asarray(texts_N_Q.sum(axis=1), np.float32).ravel(), 1.0)
    around_N_T = _row_shares(texts_N_Q @ model.given_Q_T, length_N)
    results = []
    for i, query in enumerate(queries):
        own, around = model.bought_N_T[model.row_of[query.id]], around_N_T[i]
        parts = own, around, own + around
        ranked = [_best_words(part, model.common_T, names, query.text, most, rarest) for part in parts]
        texts = [" ".join(words[:length]) for words in ranked for length in range(2, len(words) + 1)]
        texts += [word for words in ranked for word in words]
        results.append(list(dict.fromkeys(texts)))
    return results


def telling_words(model: WordModel, queries: Sequence[Query], most: int) -> list[list[str]]:
    """For each of the queries that `model` was made from, up to `most` title words that set its purchases apart.

    A word must be in half of the bought titles. Words that the query has already are among them: they say what it is
    about.
    """
    names = np.array(list(model.title_words_T))
    common = model.bought_N_T.copy()
    common.data = np.where(common.data >= 0.5, common.data, 0.0).astype(np.float32)
    common.eliminate_zeros()
    return [_best_words(common[i], model.common_T, names, "", most) for i in range(len(queries))]


def _best_words(
    row: sp.csr_matrix, common_T: FloatArray, names: np.ndarray, query: str, most: int, rarest: float = 0.0
) -> list[str]:
    """The title words of one row of shares that set it most apart, without those of the query and too rare ones."""
    worth = row.data * np.log(np.maximum(row.data, 1e-9) / common_T[row.indices])
    present = set(words_of(query))
    ranked = row.indices[np.argsort(-worth, kind="stable")]
    order = ranked[common_T[ranked] >= rarest][: most + len(present)]
    return [word for word in names[order].tolist() if word not in present][:most]
