"""A rewriter like CLE-QR (Li et al., CIKM 2022): the rewrite is the nearest known query, found by vector search.

    qr evaluate --shop generated --agent cle-qr

1. A linear head on sentence vectors of queries is trained by InfoNCE (van den Oord et al. 2018): train queries for
   which the same product was bought are positives, the other queries of a batch negatives.
2. FAISS finds the nearest train queries y_1 … y_G of a query x, at cosines s_g.
3. They are ranked by expected increment, from log and engine. With w_g = softmax(s_g / temperature), the estimated
   probability that y_g has the intent of x, f(x, z) = Σ_g w_g [z bought for y_g] estimates the demand for product z:

       increment(x, y) = Σ_{i ≤ 10} (f(x, i-th hit of x with y) − f(x, i-th hit of x)) / log2(i + 1).

4. Below a threshold of cosine or increment, x is kept. The thresholds maximize the share of dev queries' purchases
   outside search that the engine finds; dev queries are not among the neighbours. No test query's log or label is read.

In "expand" the rewrite is the words of the neighbour that the query lacks, else the neighbour itself. The paper's own
ranker is trained on Taobao's logs and not published; Table 2 of BEQUE reports its offline figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.special import softmax

from agents.query_log.purchase_log import DEPTH, PurchaseLog
from agents.text.expansion import rewrite_for_mode
from qr_env.common.arrays import load_array
from qr_env.common.atomic_io import atomic_cache_folder
from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_text
from qr_env.common.protocols import Retriever, TextEncoder
from qr_env.common.types import FloatArray, Hits
from qr_env.query_text.kept import plain
from qr_env.retrieval import combine as combining
from qr_env.reward.metrics import dcg
from qr_env.shop.shop import Shop

if TYPE_CHECKING:
    import faiss
    from torch import Tensor

TEMPERATURE = 0.05  # of InfoNCE and of the neighbours' weights
EPOCHS, BATCH, LEARNING_RATE = 8, 256, 1e-3
SEARCHED_NEIGHBOURS = 10  # nearest neighbours whose increment is computed, with one search each
THRESHOLD_QUERIES = 500  # dev queries by which the thresholds are chosen
THRESHOLD_DEPTH = 50  # hits among which their purchases count, since few of many relevant products were bought
SLACK = 1e-5  # vectors differ in their last bits with the batch size: the query that set a threshold must pass
QUANTILES = np.linspace(0, 1, 11)  # of the dev queries' cosines and increments: the thresholds that are tried


class Choice(NamedTuple):
    """The best neighbour of each of P queries."""

    neighbour_P: npt.NDArray[np.int64]
    """Its index among the pool's queries."""
    increment_P: npt.NDArray[np.float64]
    """Expected increment (module docstring)."""
    cosine_P: npt.NDArray[np.float64]
    """Cosine of the query and the neighbour."""


@dataclass
class Thresholds:
    """Least cosine and increment of an accepted neighbour."""

    cosine: float = -1.0
    """Least cosine."""
    increment: float = 0.0
    """Least expected increment."""

    def accept(self, choice: Choice) -> npt.NDArray[np.bool_]:
        """(P,) whether the neighbour is accepted; one without a positive increment never is."""
        useful_P = (choice.increment_P >= self.increment - SLACK) & (choice.increment_P > 0)
        return (choice.cosine_P >= self.cosine - SLACK) & useful_P


class CleQR:
    """Implements `qr_env.common.protocols.Agent`.

    Args:
        shop: its train queries and their purchases are the pool of neighbours; its dev purchases set the thresholds.
        retriever: searches queries alone and with a neighbour.
        encoder: sentence vectors; if it has a cache folder, the pool's vectors are stored there.
        combine: how rewrites are searched with their originals.
        weight: of the original's words in "expand".
        neighbours: G.
        seed: of the head's training.

    Raises:
        ConfigError: the train split has no purchases (nor labels in their place) to learn from.
    """

    name = "cle-qr"

    def __init__(
        self,
        shop: Shop,
        retriever: Retriever,
        encoder: TextEncoder,
        combine: str = "expand",
        weight: float = combining.ORIGINAL_WEIGHT,
        neighbours: int = 20,
        seed: int = 0,
    ) -> None:
        self._retriever, self._encoder, self._combine, self._weight = retriever, encoder, combine, weight
        self._neighbours, self._tokenizer = neighbours, shop.tokenizer
        self._queries = self._searches = 0
        self._pool = PurchaseLog.of(shop, shop.split("train"))
        if not self._pool.queries:
            raise ConfigError(f"{shop!r}: cle-qr needs a query log, and no train query has a purchase or label")
        self._texts = [query.text for query in self._pool.queries]
        self._plain = np.array([plain(text) for text in self._texts])
        dev = PurchaseLog.of(shop, shop.split("dev")[:THRESHOLD_QUERIES], outside=True)
        dev_texts = [query.text for query in dev.queries]
        vectors_ND, dev_PD = np.split(_stored_vectors(encoder, [*self._texts, *dev_texts]), [len(self._texts)])
        self._head_DD = train_head(vectors_ND, self._pool.bought_PC, seed)
        self._index = _index(_unit(vectors_ND @ self._head_DD))
        self.thresholds = self._fit(dev, dev_texts, dev_PD)
        self._queries = self._searches = 0

    @property
    def costs(self) -> dict[str, float]:
        """Searches a query, of all queries so far."""
        return {"searches/query": self._searches / max(self._queries, 1)}

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The best neighbour's words or text, n times; the query itself if no neighbour passes the thresholds."""
        if not queries:
            return []
        choice = self._choose(queries, self._encoder.encode(list(queries)))
        self._queries += len(queries)
        choices = zip(
            queries, self._rewrites(queries, choice.neighbour_P), self.thresholds.accept(choice).tolist(), strict=True
        )
        return [[rewrite if accepted else query] * n for query, rewrite, accepted in choices]

    def _rewrites(self, queries: Sequence[str], neighbour_N: npt.NDArray[np.int64]) -> list[str]:
        chosen = [self._texts[at] for at in neighbour_N.tolist()]
        return [
            rewrite_for_mode(query, text, self._combine, self._tokenizer)
            for query, text in zip(queries, chosen, strict=True)
        ]

    def _choose(self, queries: Sequence[str], vectors_PD: FloatArray) -> Choice:
        near_PG, cosine_PG = self._nearest(queries, vectors_PD)
        demand_PC = expected_demand(near_PG, cosine_PG, self._pool.bought_PC)
        tried_PG = np.argsort(-cosine_PG, axis=1, kind="stable")[:, : min(SEARCHED_NEIGHBOURS, self._neighbours)]
        count = tried_PG.shape[1]
        neighbour_PG, at = np.take_along_axis(near_PG, tried_PG, axis=1), np.repeat(np.arange(len(queries)), count)
        originals = [queries[n] for n in at.tolist()]
        texts = self._rewrites(originals, neighbour_PG.ravel())
        own_P = expected_gain(demand_PC, self._search(queries, queries))
        with_N = expected_gain(demand_PC[at], self._search(originals, texts))
        increment_PG = with_N.reshape(-1, count) - own_P[:, None]
        best_P = np.arange(len(queries)), increment_PG.argmax(axis=1)  # the nearest neighbour on a tie
        cosine_tried_PG = np.take_along_axis(cosine_PG, tried_PG, axis=1)
        return Choice(neighbour_PG[best_P], increment_PG[best_P], cosine_tried_PG[best_P])

    def _search(self, queries: Sequence[str], rewrites: Sequence[str], depth: int = DEPTH) -> Hits:
        self._searches += len(queries)
        return combining.search(self._retriever, queries, rewrites, self._combine, self._weight, depth)

    def _nearest(
        self, queries: Sequence[str], vectors_PD: FloatArray
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Indices in the pool and cosines, (P, G) each, best first; the query itself gets the cosine −inf."""
        cosine_PG, near_PG = self._index.search(
            _unit(vectors_PD @ self._head_DD), min(self._neighbours + 1, len(self._texts))
        )
        itself_PG = self._plain[near_PG] == np.array([plain(text) for text in queries])[:, None]
        return near_PG, np.where(itself_PG, -np.inf, cosine_PG.astype(np.float64))

    def _fit(self, log: PurchaseLog, texts: Sequence[str], vectors_PD: FloatArray) -> Thresholds:
        """The thresholds with which dev queries find most of their purchases; the stricter ones on a tie."""
        if not texts:
            return Thresholds()
        rows = np.arange(len(texts))
        choice = self._choose(texts, vectors_PD)
        before, after = (
            log.found_share(rows, self._search(texts, rewrites, THRESHOLD_DEPTH))
            for rewrites in (texts, self._rewrites(texts, choice.neighbour_P))
        )
        tried = [
            Thresholds(cosine, increment)
            for cosine in _candidate_thresholds(choice.cosine_P)
            for increment in _candidate_thresholds(choice.increment_P)
        ]
        gains = [float(((after - before) * each.accept(choice)).sum()) for each in tried]
        best = max(range(len(tried)), key=lambda at: (round(gains[at], 6), tried[at].cosine, tried[at].increment))
        return tried[best]


def _candidate_thresholds(values_P: npt.NDArray[np.float64]) -> list[float]:
    """Thresholds to try: the quantiles, and infinity, which no neighbour passes."""
    finite = values_P[np.isfinite(values_P)]
    return [*np.quantile(finite, QUANTILES).tolist(), float("inf")] if len(finite) else [float("inf")]


def expected_demand(
    near_PG: npt.NDArray[np.int64], cosine_PG: npt.NDArray[np.float64], bought_NC: sp.csr_matrix
) -> sp.csr_matrix:
    """(P, C) f(x, z) of the module docstring."""
    queries, k = near_PG.shape
    weights_PG = softmax(np.maximum(cosine_PG, -1e3) / TEMPERATURE, axis=1)
    starts = np.arange(0, near_PG.size + 1, k)
    weights_PN = sp.csr_matrix((weights_PG.ravel(), near_PG.ravel(), starts), shape=(queries, bought_NC.shape[0]))
    return (weights_PN @ bought_NC).tocsr()


def expected_gain(demand_NC: sp.csr_matrix, hits: Hits) -> npt.NDArray[np.float64]:
    """(N,) Σ_i f(x, i-th hit) / log2(i + 1) over the hits of each query."""
    lines = np.arange(len(hits))[:, None].repeat(hits.rows_NK.shape[1], axis=1)
    demand_NK = np.asarray(demand_NC[lines.ravel(), np.maximum(hits.rows_NK, 0).ravel()]).reshape(lines.shape)
    return dcg(np.where(hits.found_NK, demand_NK, 0.0))


def train_head(vectors_ND: FloatArray, bought_NC: sp.csr_matrix, seed: int = 0, epochs: int = EPOCHS) -> FloatArray:
    """(D, D) linear head, initialized to the identity, trained by symmetric InfoNCE with in-batch negatives.

    A positive pair is a query and another query for which the same product was bought. Queries of a batch that share a
    product with the anchor are not negatives.
    """
    import torch

    rng = np.random.default_rng(seed)
    vectors = torch.from_numpy(np.ascontiguousarray(vectors_ND, np.float32))
    head = torch.eye(vectors.shape[1], requires_grad=True)
    optimizer = torch.optim.AdamW([head], lr=LEARNING_RATE, weight_decay=0.0)
    for _ in range(epochs):
        left_N, right_N = _sample_pairs(bought_NC, rng)
        for start in range(0, len(left_N), BATCH):
            left, right = left_N[start : start + BATCH], right_N[start : start + BATCH]
            loss = _info_nce(vectors[left] @ head, vectors[right] @ head, _related(bought_NC, left, right))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return head.detach().numpy()


def _sample_pairs(bought_NC: sp.csr_matrix, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random partner for every query that has one, in random order: (left, right), (N,) each."""
    by_product = bought_NC.tocsc()
    product_N = _random_entry(bought_NC, np.arange(bought_NC.shape[0]), rng)
    partner_N = _random_entry(by_product, product_N, rng)
    left_N = rng.permutation(np.flatnonzero(partner_N != np.arange(len(partner_N))))
    return left_N, partner_N[left_N]


def _random_entry(matrix: sp.csr_matrix | sp.csc_matrix, lines: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random index of each given line of a compressed matrix without empty lines."""
    lengths = np.diff(matrix.indptr)[lines]
    return matrix.indices[matrix.indptr[lines] + (rng.random(len(lines)) * lengths).astype(np.int64)]


def _related(bought_NC: sp.csr_matrix, left: np.ndarray, right: np.ndarray) -> Tensor:
    """(N, N) True where the queries of two different pairs share a product, or are the same query."""
    import torch

    shared = torch.from_numpy((bought_NC[left] @ bought_NC[right].T).toarray() > 0)
    return shared & ~torch.eye(len(left), dtype=torch.bool)


def _info_nce(left_ND: Tensor, right_ND: Tensor, related_NN: Tensor) -> Tensor:
    """Mean over both directions of −log softmax of the partner's cosine within the batch."""
    import torch
    from torch.nn import functional

    cosine_NN = functional.normalize(left_ND) @ functional.normalize(right_ND).T
    logits_NN = (cosine_NN / TEMPERATURE).masked_fill(related_NN, -torch.inf)
    target = torch.arange(len(left_ND))
    return (functional.cross_entropy(logits_NN, target) + functional.cross_entropy(logits_NN.T, target)) / 2


def _unit(vectors_ND: FloatArray) -> FloatArray:
    length_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors_ND / np.maximum(length_N1, 1e-9), np.float32)


def _index(vectors_ND: FloatArray) -> faiss.IndexFlatIP:
    import faiss

    index = faiss.IndexFlatIP(vectors_ND.shape[1])
    index.add(vectors_ND)
    return index


def _stored_vectors(encoder: TextEncoder, texts: Sequence[str]) -> FloatArray:
    """Vectors of the texts, stored on disk if the encoder has a cache folder."""
    root = getattr(encoder, "cache_dir", None)
    if root is None:
        return encoder.encode(texts, show_progress=True)
    key = sha256_text("\0".join((encoder.name, *texts)), 20)
    path = Path(root) / "vectors" / f"queries-{key}" / "queries.npy"
    if not path.is_file():
        with atomic_cache_folder(path.parent) as scratch:
            np.save(scratch / path.name, encoder.encode(texts, show_progress=True))
    return load_array(path)
