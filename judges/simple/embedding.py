"""The embedding judge: similarity of query and product, mapped to grades; needs no labels and no GPU.

    judge = EmbeddingJudge(shop, encoder)                         # default thresholds, for MiniLM
    judge.fit_purchases()                                         # or fitted to purchases
    grades = judge.grade(queries, hits.rows_NK)

The score is the cosine of query and product (title, brand and colour, as dense retrieval embeds them); the cumulative
link model of `thresholds.py` gives the levels.

Sentence embeddings agree with people only loosely (MiniLM on home-improvement queries: Spearman 0.41), so these grades
are soft, and a policy that learns from them must be evaluated on human labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from judges.simple.thresholds import Levels, Thresholds, fit_thresholds, level_probs
from qr_env.common.errors import JudgeError
from qr_env.common.protocols import TextEncoder
from qr_env.common.types import EXACT, IRRELEVANT, SUBSTITUTE, FloatArray, Grades, Query, RowArray
from qr_env.retrieval.encoder import product_texts
from qr_env.shop.shop import Shop

PAIRS = 1_000  # purchased pairs of a label-free fit
POOL = 4_000  # products among which it draws hard negatives
HARD_RANKS = (5, 50)  # ranks of hard negatives among the nearest neighbours of the bought product
CHUNK = 8_192  # lists graded at a time: bounds memory to CHUNK × K × D floats


class EmbeddingJudge:
    """Grades by the cosine of query and product. Product vectors are computed when first needed, then kept in memory.

    Args:
        shop: whose products are graded.
        encoder: texts → unit vectors.
        thresholds: None takes defaults chosen for all-MiniLM-L6-v2; `fit` and `fit_purchases` replace them.
        vectors_CD: of `qr_env.retrieval.encoder.product_vectors`, if they exist already (may be a memory map).
    """

    name = "embedding"

    def __init__(
        self,
        shop: Shop,
        encoder: TextEncoder,
        thresholds: Thresholds | None = None,
        vectors_CD: FloatArray | None = None,
    ) -> None:
        if vectors_CD is not None and len(vectors_CD) != len(shop.products):
            raise JudgeError(f"{len(vectors_CD)} product vectors for {shop!r}: use product_vectors(shop, encoder)")
        self.shop, self.encoder = shop, encoder
        self.thresholds = thresholds or Thresholds()
        self._vectors_CD = vectors_CD
        self._ready_C = np.full(len(shop.products), vectors_CD is not None)

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """Soft verdicts, (N, K, 4); NaN on padding and for a query without a word."""
        return Grades(level_probs(self.score(queries, rows_NK), self.thresholds))

    def score(self, queries: Sequence[Query], rows_NK: RowArray) -> FloatArray:
        """`similarity` of the queries' texts, (N, K)."""
        return self.similarity([query.text for query in queries], rows_NK)

    def for_shop(self, shop: Shop) -> EmbeddingJudge:
        """The same judge for another shop's products."""
        return EmbeddingJudge(shop, self.encoder, self.thresholds)

    def similarity(self, texts: Sequence[str], rows_NK: RowArray) -> FloatArray:
        """Cosine of text n and product rows_NK[n, k], (N, K) float32; NaN on padding and for a blank text."""
        similarity_NK = np.full(rows_NK.shape, np.nan, np.float32)
        if rows_NK.size == 0 or not len(self.shop.products):
            return similarity_NK
        place = {text: n for n, text in enumerate(dict.fromkeys(texts))}
        distinct_UD = self.encoder.encode(list(place))
        index_N = np.array([place[text] for text in texts])
        vectors_CD = self._vectors(rows_NK[rows_NK >= 0], distinct_UD.shape[1])
        for start in range(0, len(rows_NK), CHUNK):
            part = slice(start, start + CHUNK)
            products_NKD = vectors_CD[np.maximum(rows_NK[part], 0)]
            similarity_NK[part] = np.matmul(products_NKD, distinct_UD[index_N[part], :, None])[..., 0]
        blank_N = np.array([not text.strip() for text in texts])
        similarity_NK[(rows_NK < 0) | blank_N[:, None]] = np.nan
        return similarity_NK

    def fit(self, query_rows_N: Sequence[int], rows_N: npt.NDArray[np.int_], levels_N: Levels) -> Thresholds:
        """Fit the thresholds to N graded pairs of the shop by maximum likelihood, and return them. Deterministic.

        Raises JudgeError without a pair, or for a level that is not 0 … 3.
        """
        levels_N = np.asarray(levels_N)
        if not len(levels_N) or levels_N.min() < 0 or levels_N.max() > EXACT:
            raise JudgeError(f"fit needs levels {IRRELEVANT} … {EXACT}, got {len(levels_N)} pairs: {levels_N[:8]} …")
        texts = [self.shop.all_queries[row].text for row in query_rows_N]
        similarity_N = self.similarity(texts, np.asarray(rows_N, np.int32)[:, None])[:, 0]
        known_N = ~np.isnan(similarity_N)
        self.thresholds = fit_thresholds(similarity_N[known_N], levels_N[known_N], self.thresholds)
        return self.thresholds

    def fit_purchases(self, split: str = "train", seed: int = 0) -> Thresholds:
        """Fit the thresholds without labels, to the pairs of `purchase_pairs`, and return them.

        Raises JudgeError where the split has no purchases.
        """
        return self.fit(*self.purchase_pairs(split, seed))

    def purchase_pairs(self, split: str = "train", seed: int = 0) -> tuple[list[int], Levels, Levels]:
        """(query rows, product rows, levels) from purchases: a bought product is Exact, its neighbours are Substitutes.

        Of up to 1,000 purchases for queries of `split`: the pair itself; the query with a product among the nearest
        5th … 50th neighbours of the bought one and not bought for it; the query with a random product, Irrelevant.
        Three levels of equal number; nothing is known about Complements. Deterministic in `seed`.

        Raises JudgeError where the split has no purchases.
        """
        query_N, product_N = self.shop.purchase_rows(split=split)
        if not len(query_N):
            raise JudgeError(f"{self.shop!r} has no purchases for {split} queries: give thresholds, or fit on labels")
        generator = np.random.default_rng(seed)
        chosen = np.sort(generator.permutation(len(query_N))[:PAIRS])
        query_N, product_N = query_N[chosen], product_N[chosen]
        hard_N = self._neighbours(query_N, product_N, generator)
        random_N = generator.integers(len(self.shop.products), size=len(query_N))
        levels_N = np.repeat([EXACT, SUBSTITUTE, IRRELEVANT], len(query_N))
        return np.tile(query_N, 3).tolist(), np.concatenate([product_N, hard_N, random_N]), levels_N

    def _neighbours(self, query_N: Levels, product_N: Levels, generator: np.random.Generator) -> Levels:
        """A hard negative for each purchase: a near neighbour of the bought product, at a random rank."""
        pool = np.sort(generator.permutation(len(self.shop.products))[:POOL])
        width = self.encoder.encode(["width"]).shape[1]
        vectors_CD = self._vectors(np.concatenate([pool, product_N]), width)
        last = min(HARD_RANKS[1], len(pool))
        first = min(HARD_RANKS[0], last - 1)
        bought = set(zip(query_N.tolist(), product_N.tolist(), strict=True))
        chosen = np.empty_like(product_N)
        for n, scores in enumerate(vectors_CD[product_N] @ vectors_CD[pool].T):
            near = pool[np.argsort(-scores, kind="stable")[first:last]]
            free = [row for row in near.tolist() if (int(query_N[n]), row) not in bought] or near.tolist()
            chosen[n] = free[generator.integers(len(free))]
        return chosen

    def product_vectors(self, rows: npt.NDArray[np.integer]) -> FloatArray:
        """(C, D) vectors by product row; those of `rows` are computed, others may not be."""
        return self._vectors(rows, self.encoder.encode(["width"]).shape[1])

    @cached_property
    def _texts(self) -> list[str]:
        """Product texts that are embedded, the same as in dense retrieval."""
        return product_texts(self.shop)

    def _vectors(self, rows: npt.NDArray[np.integer], width: int) -> FloatArray:
        """(C, D) product vectors, of which at least `rows` are computed."""
        if self._vectors_CD is None:
            # np.empty: memory pages that are never written cost nothing.
            self._vectors_CD = np.empty((len(self.shop.products), width), np.float32)
        if not self._ready_C.all():
            wanted = np.unique(rows[~self._ready_C[rows]])
            if len(wanted):
                texts = [self._texts[row] for row in wanted.tolist()]
                self._vectors_CD[wanted] = self.encoder.encode(texts, show_progress=len(texts) > 2_000)
                self._ready_C[wanted] = True
        return self._vectors_CD
