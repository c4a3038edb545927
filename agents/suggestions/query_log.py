"""Words that a shop's query log suggests: of titles that were bought, and of other queries with the same words.

    source = LogSource(shop, TitleStems(shop.titles, shop.tokenizer))
    source.suggest(["couch"])                      # [[Suggestion("sofa", 0.9, "log")]]

Two statistics of the train queries, u a word of a query and v a word of titles:

- bought(u, v): share of the purchases for queries with u whose title has v. Of a query that the log holds, its own
  purchases count as much as those of all its words together. u needs `MIN_PURCHASES` purchases.
- together(u, v): normalised pointwise mutual information (Bouma 2009) of u and v in the distinct queries,
  ln(p(u, v) / (p(u) p(v))) / −ln p(u, v), where `MIN_QUERIES` queries or more have both.

The weight of v for a query is the greater of the two, each averaged over the query's words; words below `MIN_WEIGHT`
are left out. Words are ranked by weight × idf. Queries of other splits than train are not read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from agents.suggestions.base import Suggestion
from agents.suggestions.title_words import TitleStems
from qr_env.shop.shop import Shop

MIN_PURCHASES = 3  # of a query word, so that one odd purchase suggests nothing
MIN_QUERIES = 3  # that hold both words
MIN_WEIGHT = 0.1
AT_MOST = 20  # words for a query


class LogSource:
    """Words by the purchases and queries of the shop's train split.

    Args:
        shop: its train queries and their purchases; without purchases the queries alone count.
        stems: of the shop's titles: the words that may be suggested.
    """

    name = "log"

    def __init__(self, shop: Shop, stems: TitleStems) -> None:
        self._stems, self._tokenizer = stems, shop.tokenizer
        train = shop.split("train")
        self._row = {text: row for row, text in enumerate(dict.fromkeys(_key(query.text) for query in train))}
        texts = list(self._row)
        self._column = {
            stem: at for at, stem in enumerate(dict.fromkeys(s for text in texts for s in self._stems_of(text)))
        }
        has_PU = self._incidence(texts)
        query_N, product_N = shop.purchases_of(train)
        row_N = np.array([self._row[_key(train[at].text)] for at in query_N.tolist()], np.int64)
        shape = (len(texts), len(shop.products))
        bought_PC = sp.csr_matrix((np.ones(len(row_N)), (row_N, product_N)), shape=shape)
        bought_PV, purchases_P = (bought_PC @ stems.has_CV).tocsr(), np.asarray(bought_PC.sum(axis=1)).ravel()
        self._own_PV = _shares(bought_PV, purchases_P, 1)
        self._bought_UV = _shares(has_PU.T @ bought_PV, has_PU.T @ purchases_P, MIN_PURCHASES)
        self._together_UV = _npmi(has_PU, stems.presence(texts))

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        """See `SuggestionSource.suggest`."""
        has_PU = self._incidence(queries)
        words_P = np.array([len(self._stems_of(query)) for query in queries], np.float64)
        mean_PU = sp.diags_array(1.0 / np.maximum(words_P, 1.0)) @ has_PU
        bought_PV, known_P = (mean_PU @ self._bought_UV).tocsr(), self._known(queries)
        own_PV = _rows(self._own_PV, known_P)
        has_own_P = np.asarray(own_PV.sum(axis=1)).ravel() > 0
        halves = sp.diags_array(np.where(has_own_P, 0.5, 1.0))
        bought_PV = (halves @ bought_PV + 0.5 * own_PV).tocsr()
        weights_PV = bought_PV.maximum(mean_PU @ self._together_UV).tocsr()
        weights_PV = (weights_PV - weights_PV.multiply(self._stems.presence(queries))).tocsr()
        spans = zip(weights_PV.indptr[:-1], weights_PV.indptr[1:], strict=True)
        return [self._best(weights_PV.indices[start:end], weights_PV.data[start:end]) for start, end in spans]

    def _best(self, columns: npt.NDArray[np.int32], weights: npt.NDArray[np.float64]) -> list[Suggestion]:
        """The words with the greatest weight × idf; ties by column."""
        kept = np.flatnonzero(weights >= MIN_WEIGHT)
        columns, weights = columns[kept], weights[kept]
        order = np.lexsort((columns, -weights * self._stems.idf_V[columns]))[:AT_MOST]
        found = zip(columns[order].tolist(), weights[order].tolist(), strict=True)
        return [Suggestion(self._stems.words[column], min(weight, 1.0), self.name) for column, weight in found]

    def _known(self, queries: Sequence[str]) -> npt.NDArray[np.int64]:
        """(P,) row of each query in the log, -1 where the log does not hold it."""
        return np.array([self._row.get(_key(query), -1) for query in queries], np.int64)

    def _stems_of(self, text: str) -> list[str]:
        """Distinct stems in order."""
        stems = dict.fromkeys(map(self._tokenizer.stem, self._tokenizer.words(text)))
        return [stem for stem in stems if stem]

    def _incidence(self, texts: Sequence[str]) -> sp.csr_matrix:
        """(P, U) 1 where the text has the word of the log's queries."""
        found = [[self._column[stem] for stem in self._stems_of(text) if stem in self._column] for text in texts]
        starts = np.append(0, np.cumsum([len(columns) for columns in found], dtype=np.int64))
        indices = np.fromiter((column for columns in found for column in columns), np.int64, int(starts[-1]))
        return sp.csr_matrix((np.ones(len(indices)), indices, starts), shape=(len(texts), len(self._column)))


def _key(text: str) -> str:
    """Queries that differ in case and spaces alone are the same one."""
    return " ".join(text.lower().split())


def _shares(counts: sp.csr_matrix, totals: npt.NDArray[np.float64], least: int) -> sp.csr_matrix:
    """Each row divided by its total; rows with a total below `least` are empty."""
    factors = np.divide(1.0, totals, out=np.zeros(len(totals)), where=totals >= least)
    return (sp.diags_array(factors) @ counts).tocsr()


def _rows(matrix: sp.csr_matrix, rows_P: npt.NDArray[np.int64]) -> sp.csr_matrix:
    """(P, V) rows of a matrix; empty where the row is -1."""
    at = np.flatnonzero(rows_P >= 0)
    shape = (len(rows_P), matrix.shape[0])
    return (sp.csr_matrix((np.ones(len(at)), (at, rows_P[at])), shape=shape) @ matrix).tocsr()


def _npmi(has_PU: sp.csr_matrix, has_PV: sp.csr_matrix) -> sp.csr_matrix:
    """(U, V) normalised pointwise mutual information, where it is positive and `MIN_QUERIES` queries have both."""
    both = (has_PU.T @ has_PV).tocoo()
    kept = both.data >= MIN_QUERIES
    row, column, count = both.row[kept], both.col[kept], both.data[kept]
    queries = max(has_PU.shape[0], 1)
    of_U, of_V = (np.asarray(matrix.sum(axis=0)).ravel() for matrix in (has_PU, has_PV))
    information = np.log(count * queries / (of_U[row] * of_V[column]))
    # Two words that all queries have together carry no information: 0 / 0.
    surprise = -np.log(count / queries)
    npmi = np.divide(information, surprise, out=np.zeros(len(count)), where=surprise > 0)
    positive = npmi > 0
    return sp.csr_matrix((npmi[positive], (row[positive], column[positive])), shape=both.shape)
