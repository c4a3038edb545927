"""Rewriters without training: baselines (identity, spelling correction, RM3) and the upper bound (oracle).

qr evaluate --shop generated --agent identity spell rm3 oracle
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from agents.suggestions.title_words import title_model
from qr_env.common.errors import ConfigError
from qr_env.common.types import Hits
from qr_env.query_text.spelling import SpellingIndex
from qr_env.shop.shop import Shop

if TYPE_CHECKING:
    from qr_env.common.protocols import Retriever

WORD = re.compile(r"\w+")


class Identity:
    """Returns every query unchanged: the baseline of every comparison."""

    name = "identity"

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The query, n times."""
        return [[query] * n for query in queries]


class Oracle:
    """Returns the best rewrite, known from the shop's construction: the upper bound. Unknown texts are kept.

    Raises:
        ConfigError: the shop has no oracle; only the generated shop has one.
    """

    name = "oracle"

    def __init__(self, shop: Shop) -> None:
        if not shop.oracle:
            raise ConfigError(f"{shop!r} has no oracle: use the shop generated, or leave the agent 'oracle' out")
        texts = zip(shop.queries["query_id"].to_pylist(), shop.queries["query"].to_pylist(), strict=True)
        self._best = {text: shop.oracle[name] for name, text in texts if name in shop.oracle}

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The best rewrite, n times."""
        return [[self._best.get(query, query)] * n for query in queries]


class Spell:
    """Corrects each word of a query to the nearest word of the catalogue (`qr_env.query_text.spelling`).

    The rewrite is the whole corrected query, or the query unchanged.
    """

    name = "spell"

    def __init__(self, shop: Shop, max_distance: int = 2) -> None:
        self._index = SpellingIndex(shop, max_distance)

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The corrected query, n times."""
        return [[WORD.sub(self._corrected, query)] * n for query in queries]

    def _corrected(self, match: re.Match[str]) -> str:
        return self._index.correction(match[0]) or match[0]


class RM3:
    """Pseudo-relevance feedback (Lavrenko & Croft 2001; RM3 of Abdul-Jaleel et al. 2004): adds words of the query's own
    results.

    P(w | R) = sum over the best `fb_docs` titles D of P(w | D) P(D | Q), with P(w | D) the share of w in the title and
    P(D | Q) the retriever's scores, normalized over those titles. The `fb_terms` most probable words that the query
    lacks become the rewrite, the most probable first. Stop words and words in over a tenth of the catalogue are left
    out, as in Anserini. The original's share of the mixture (RM3's lambda) is the `expand` weight of the search: five
    words against a query of two or three at weight 2 is about the usual half.
    """

    name = "rm3"

    def __init__(self, shop: Shop, retriever: Retriever, fb_docs: int = 10, fb_terms: int = 5, max_share: float = 0.1):
        self._tokenizer = shop.tokenizer
        self._retriever, self._fb_docs, self._fb_terms = retriever, fb_docs, fb_terms
        self._words, self._share_CV = title_model(shop.titles, shop.tokenizer, max_share)

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The words to add, n times; the query itself if it finds nothing."""
        if not queries:
            return []
        hits = self._retriever.search(list(queries), self._fb_docs)
        weights_PV = (self._document_weights(hits) @ self._share_CV).tocsr()
        spans = zip(weights_PV.indptr[:-1], weights_PV.indptr[1:], strict=True)
        texts = [
            self._added_words(query, weights_PV.indices[start:end], weights_PV.data[start:end])
            for query, (start, end) in zip(queries, spans, strict=True)
        ]
        return [[text] * n for text in texts]

    def _document_weights(self, hits: Hits) -> sp.csr_matrix:
        """(P, C) sparse: P(D | Q) of the feedback titles; rows sum to 1."""
        found_PK = hits.found_NK
        # Inner products may be negative: the scores are shifted so that the last title has a small positive weight.
        lowest_P = np.where(found_PK, hits.scores_NK, np.inf).min(axis=1, initial=np.inf)
        shift_P = np.where(np.isfinite(lowest_P), np.minimum(lowest_P, 0.0), 0.0)
        mass_PK = np.where(found_PK, hits.scores_NK - shift_P[:, None] + 1e-6, 0.0)
        mass_PK = mass_PK / np.maximum(mass_PK.sum(axis=1, keepdims=True), 1e-12)
        queries_N, places_N = np.nonzero(found_PK)
        columns_N = hits.rows_NK[queries_N, places_N]
        shape = (len(hits), self._share_CV.shape[0])
        return sp.csr_matrix((mass_PK[queries_N, places_N], (queries_N, columns_N)), shape=shape)

    def _added_words(self, query: str, terms: npt.NDArray[np.int32], weights: npt.NDArray[np.float64]) -> str:
        # Ties are broken by word number, for equal results on every machine. One word a stem, none of the query's own.
        ranked = [self._words[at] for at in terms[np.lexsort((terms, -weights))][: 4 * self._fb_terms]]
        own = set(map(self._tokenizer.stem, self._tokenizer.words(query)))
        by_stem: dict[str, str] = {}
        for word in ranked:
            by_stem.setdefault(self._tokenizer.stem(word), word)
        return " ".join([word for stem, word in by_stem.items() if stem not in own][: self._fb_terms]) or query
