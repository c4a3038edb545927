"""The embedding judge: similarity of query and product, mapped to grades; needs no labels and no GPU.

    judge = EmbeddingJudge(shop, encoder)                         # default thresholds, for MiniLM
    judge.fit_purchases()                                         # or fitted to purchases
    grades = judge.grade(queries, hits.rows_NK)

With s the cosine of query and product (title, brand and colour, as dense retrieval embeds them), a cumulative link
model (McCullagh 1980, proportional odds) gives the levels:

    P(level ≥ j) = σ((s − cut_j) / temperature),  j = Complement, Substitute, Exact;  cut_C ≤ cut_S ≤ cut_E

Sentence embeddings agree with people only loosely (MiniLM on home-improvement queries: Spearman 0.41), so these grades
are soft, and a policy that learns from them must be evaluated on human labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.protocols import TextEncoder
from qr_env.common.types import EXACT, IRRELEVANT, SUBSTITUTE, FloatArray, Grades, Query, RowArray
from qr_env.retrieval.encoder import product_texts
from qr_env.shop.shop import Shop

PAIRS = 1_000  # purchased pairs of a label-free fit
POOL = 4_000  # products among which it draws hard negatives
HARD_RANKS = (5, 50)  # ranks of hard negatives among the nearest neighbours of the bought product
RIDGE = 1e-3  # pull towards the given thresholds; decides cuts that the data does not, as of a level that never occurs
CHUNK = 8_192  # lists graded at a time: bounds memory to CHUNK × K × D floats

Levels = npt.NDArray[np.int_]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Cuts of the cumulative link model on a score, and its temperature."""

    complement: float = 0.35
    """score at which P(at least Complement) is ½"""
    substitute: float = 0.45
    """score at which P(at least Substitute) is ½"""
    exact: float = 0.60
    """score at which P(Exact) is ½"""
    temperature: float = 0.06
    """scale of the score: the greater, the softer the grades"""

    def __post_init__(self) -> None:
        if not self.complement <= self.substitute <= self.exact:
            raise ConfigError(f"{self}: must rise, complement ≤ substitute ≤ exact")
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(f"{self}: the temperature must be a positive number")

    @property
    def cuts(self) -> npt.NDArray[np.float64]:
        """(3,) in the order of the levels."""
        return np.array([self.complement, self.substitute, self.exact])


def level_probs(similarity: npt.NDArray[np.floating], thresholds: Thresholds) -> FloatArray:
    """Probability of each of `LEVELS`, (…, 4), by the module docstring's formula; NaN stays NaN."""
    at_least = expit((np.asarray(similarity, np.float64)[..., None] - thresholds.cuts) / thresholds.temperature)
    edges = np.concatenate([np.ones_like(at_least[..., :1]), at_least, np.zeros_like(at_least[..., :1])], axis=-1)
    return np.where(np.isnan(at_least[..., :1]), np.nan, edges[..., :-1] - edges[..., 1:]).astype(np.float32)


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
        return Grades(level_probs(self.similarity([query.text for query in queries], rows_NK), self.thresholds))

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
        """Fit the thresholds without labels: bought products are Exact, their neighbours Substitute, others Irrelevant.

        Of up to 1,000 purchases for queries of `split`: the pair itself; the query with a product among the nearest
        5th … 50th neighbours of the bought one and not bought for it; the query with a random product. Three levels of
        equal number; the cut of Complement follows from the pull towards the given thresholds. Deterministic in `seed`.

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
        return self.fit(np.tile(query_N, 3).tolist(), np.concatenate([product_N, hard_N, random_N]), levels_N)

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


def fit_thresholds(similarity_N: npt.NDArray[np.floating], levels_N: Levels, start: Thresholds) -> Thresholds:
    """Maximum likelihood of the cumulative link model, with a weak ridge towards `start`."""
    exact_N: npt.NDArray[np.float64] = np.asarray(similarity_N, np.float64)
    origin = _pack(start)

    def loss(packed: npt.NDArray[np.float64]) -> float:
        probs_N4 = _probs(exact_N, packed)
        picked_N = probs_N4[np.arange(len(levels_N)), levels_N]
        return float(-np.log(np.maximum(picked_N, 1e-12)).mean() + RIDGE * np.square(packed - origin).sum())

    return _unpack(minimize(loss, origin, method="L-BFGS-B", options={"maxiter": 500}).x)


def _probs(similarity_N: npt.NDArray[np.float64], packed: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`level_probs` in float64."""
    t = _unpack(packed)
    at_least_N3 = expit((similarity_N[:, None] - t.cuts) / t.temperature)
    ones, zeros = np.ones((len(similarity_N), 1)), np.zeros((len(similarity_N), 1))
    return -np.diff(np.concatenate([ones, at_least_N3, zeros], axis=1), axis=1)


def _pack(t: Thresholds) -> npt.NDArray[np.float64]:
    """Free parameters: lowest cut, logs of the two gaps, log temperature."""
    gaps = np.log(np.maximum(np.diff(t.cuts), 1e-4))
    return np.array([t.complement, *gaps, np.log(t.temperature)])


def _unpack(packed: npt.NDArray[np.float64]) -> Thresholds:
    lowest, first, second, temperature = (float(value) for value in np.clip(packed, -12, 3))
    middle = lowest + float(np.exp(first))
    return Thresholds(lowest, middle, middle + float(np.exp(second)), float(np.exp(temperature)))
