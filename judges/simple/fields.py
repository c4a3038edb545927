"""The judge of fields: how likely each field of a product's text is to have written the query's corrected words.

    judge = FieldsJudge(shop)
    grades = judge.grade(queries, hits.rows_NK)

It needs no label and no encoder, so it can compare engines (`qr_env/evaluation/engine_check.py`). For one field f and
the n corrected words w of a query (`qr_env/query_text/repair.py`), the log-likelihood ratio of a smoothed language
model of the field (Jelinek-Mercer; Zhai & Lafferty 2004) to its collection model is

    x_f = 1/n · Σ_w ln(1 + (1 − λ)/λ · (count of w in the field / words of the field) / P(w in field f of all products))

in nats, λ = `SMOOTHING`. One field's evidence is e_f = x_f / (x_f + `HALF`), in [0, 1), and a product's value is that
of independent witnesses (noisy-or; Pearl 1988), v = 1 − Π_f (1 − e_f): words that title and description both hold count
more than words that one field repeats. So neither an engine of titles alone nor one of long texts alone is favoured,
while a judge that reads titles alone ranks engines backwards (runs/results/engines.md).

The value v becomes the verdict P(Exact) = v, P(Irrelevant) = 1 − v. It is a score for comparisons, not calibrated to
grades.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qr_env.common.types import EXACT, IRRELEVANT, LEVELS, Grades, Query, RowArray
from qr_env.query_text.repair import Repair
from qr_env.retrieval.field_counts import FieldCounts
from qr_env.shop.shop import Shop

SMOOTHING = 0.1  # λ: weight of the collection model
HALF = 3.0  # nats a word at which a field gives half of its value


class FieldsJudge:
    """Grades by the words of every text field that the shop has."""

    name = "fields"

    def __init__(self, shop: Shop) -> None:
        self._repair, self._tokenizer = Repair.of(shop), shop.tokenizer
        self._counts = FieldCounts.of(shop)
        self._by_row = {name: sp.csr_matrix(matrix) for name, matrix in self._counts.matrices.items()}

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """Soft verdicts, (N, K, 4); NaN on padding and for a query without a word."""
        value_NK = self.value([query.text for query in queries], rows_NK)
        probs_NK4 = np.zeros((*rows_NK.shape, len(LEVELS)), np.float32)
        probs_NK4[..., EXACT] = value_NK
        probs_NK4[..., IRRELEVANT] = 1 - value_NK
        probs_NK4[np.isnan(value_NK)] = np.nan
        return Grades(probs_NK4)

    def for_shop(self, shop: Shop) -> FieldsJudge:
        """The judge of another shop's products."""
        return FieldsJudge(shop)

    def value(self, texts: Sequence[str], rows_NK: RowArray) -> npt.NDArray[np.float64]:
        """The value of product rows_NK[n, k] for text n, (N, K) in [0, 1); NaN on padding and for a wordless text."""
        terms_N = [self.corrected_terms(text) for text in texts]
        sizes_N = np.array([len(terms) for terms in terms_N], np.int64)
        n_M, k_M = np.nonzero((rows_NK >= 0) & (sizes_N > 0)[:, None])
        value_NK = np.full(rows_NK.shape, np.nan)
        if len(n_M):
            known_N = [[self._counts.vocabulary.get(term, -1) for term in terms] for terms in terms_N]
            columns = np.concatenate([np.array(known_N[n], np.int64) for n in n_M.tolist()])
            pair = np.repeat(np.arange(len(n_M)), sizes_N[n_M])
            value_NK[n_M, k_M] = self._pair_values(rows_NK[n_M, k_M], pair, columns)
        return value_NK

    def corrected_terms(self, text: str) -> list[str]:
        """Distinct index terms of the query in the shop's spelling, in order."""
        words = [word for unit in self._repair.units(text) for word in (unit.repaired or unit.typed)]
        return list(dict.fromkeys(term for word in words for term in self._tokenizer.terms_of(word)))

    def _pair_values(self, rows_M: RowArray, pair: npt.NDArray, columns: npt.NDArray) -> npt.NDArray[np.float64]:
        """(M,) values of M pairs, which have one entry of `pair` and `columns` (-1: in no field) for each word."""
        known = columns >= 0
        pair_known, columns_known = pair[known], columns[known]
        words_M = np.bincount(pair, minlength=len(rows_M))
        doubt_M = np.ones(len(rows_M))
        for name, matrix in self._by_row.items():
            lengths_C = self._counts.lengths_C[name]
            used, index = np.unique(columns_known, return_inverse=True)
            share = (np.asarray(self._counts.matrices[name][:, used].sum(axis=0)).ravel() + 0.5) / lengths_C.sum()
            rows = rows_M[pair_known]
            count = np.asarray(matrix[rows, columns_known]).ravel()
            odds = (1 - SMOOTHING) / SMOOTHING * count / np.maximum(lengths_C[rows], 1) / share[index]
            x_M = np.bincount(pair_known, np.log1p(odds), len(rows_M)) / np.maximum(words_M, 1)
            doubt_M *= HALF / (x_M + HALF)
        return 1 - doubt_M
