"""A rewriter like CLE-QR (Li et al., CIKM 2022): no words are generated, a known query is looked up.

    qr evaluate --shop generated --agent cle-qr

1. Sentence vectors of queries go through a linear head that is trained by InfoNCE (van den Oord et al. 2018): train
   queries for which the same product was bought attract, the others of a batch repel.
2. FAISS finds the nearest train queries y_1 … y_K of a query x, at cosines s_k.
3. They are ranked by expected increment, from log and engine. With w_k = softmax(s_k / temperature), the head's own
   belief that y_k wants what x wants, f(x, z) = Σ_k w_k [z bought for y_k] is the belief that x wants product z, and

       increment(x, y) = Σ_{i ≤ 10} (f(x, i-th hit of x with y) − f(x, i-th hit of x)) / log2(i + 1).

4. Below a cosine, or an increment, x is left alone. Both thresholds are fitted on what was bought outside search for
   dev queries, which the pool does not hold: those with which the engine finds most of it. No test query's log or
   label is read.

In "expand" the rewrite is the words of the neighbour that the query lacks, else the neighbour itself. The paper's own
ranker is learned from Taobao's logs and unknown; its offline figures as BEQUE reports them are in Table 2 there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from agents.query_log.purchase_log import DEPTH, PurchaseLog
from agents.text.expansion import rewrite_for_mode
from qr_env.common.atomic_io import atomic_cache_folder
from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_text
from qr_env.common.protocols import Retriever, TextEncoder
from qr_env.common.types import FloatArray, Hits
from qr_env.retrieval import combine as combining
from qr_env.reward.metrics import dcg
from qr_env.shop.shop import Shop

TEMPERATURE = 0.05  # of InfoNCE, and so of the weights
EPOCHS, BATCH, LEARNING_RATE = 8, 256, 1e-3
SEARCHED = 10  # nearest neighbours whose increment is worked out, at a search each
FITTED_ON = 500  # dev queries that choose the thresholds
FITTED_DEPTH = 50  # among so many hits their purchases are sought: few of thousands of right products were bought
SLACK = 1e-5  # vectors differ in their last bits, alone and in a batch: the threshold's own query must pass
QUANTILES = np.linspace(0, 1, 11)  # of cosine and increment among them: the thresholds that are tried


class Choice(NamedTuple):
    """The best neighbour of each of P queries. pool_P: its place in the pool. cosine_P, increment_P: see the module."""

    pool_P: npt.NDArray[np.int64]
    increment_P: npt.NDArray[np.float64]
    cosine_P: npt.NDArray[np.float64]


@dataclass
class Thresholds:
    """A neighbour below either is not taken."""

    cosine: float = -1.0
    increment: float = 0.0

    def pass_P(self, choice: Choice) -> npt.NDArray[np.bool_]:
        """(P,) whether the neighbour is taken; one that promises nothing never is."""
        worth = (choice.increment_P >= self.increment - SLACK) & (choice.increment_P > 0)
        return (choice.cosine_P >= self.cosine - SLACK) & worth


class CleQR:
    """Implements `qr_env.common.protocols.Agent`.

    Args:
        shop: its train queries and their purchases are the pool; its dev purchases fit the thresholds.
        retriever: what a query finds by itself, and with a neighbour.
        encoder: sentence vectors; where it has a cache folder, those of the pool are kept there.
        combine, weight: how rewrites meet their originals.
        neighbours: K.

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
        self._neighbours = neighbours
        self._queries = self._searches = 0
        self._pool = PurchaseLog.of(shop, shop.split("train"))
        if not self._pool.queries:
            raise ConfigError(
                f"{shop!r}: cle-qr looks rewrites up in a log, and no train query has a purchase or label"
            )
        self._texts = [query.text for query in self._pool.queries]
        self._plain = np.array([combining.plain(text) for text in self._texts])
        dev = PurchaseLog.of(shop, shop.split("dev")[:FITTED_ON], outside=True)
        dev_texts = [query.text for query in dev.queries]
        vectors_QD, dev_PD = np.split(_remembered(encoder, [*self._texts, *dev_texts]), [len(self._texts)])
        self._head_DD = train_head(vectors_QD, self._pool.bought_PC, seed)
        self._index = _index(_unit(vectors_QD @ self._head_DD))
        self.thresholds = self._fit(dev, dev_texts, dev_PD)
        self._queries = self._searches = 0

    @property
    def costs(self) -> dict[str, float]:
        """Searches a query, of all queries so far."""
        return {"searches/query": self._searches / max(self._queries, 1)}

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The best neighbour's words or text, n times; the query itself where none passes the thresholds."""
        if not queries:
            return []
        choice = self._choose(queries, self._encoder.encode(list(queries)))
        self._queries += len(queries)
        taken = zip(
            queries, self._rewrites(queries, choice.pool_P), self.thresholds.pass_P(choice).tolist(), strict=True
        )
        return [[rewrite if passes else query] * n for query, rewrite, passes in taken]

    def _rewrites(self, queries: Sequence[str], pool_N: npt.NDArray[np.int64]) -> list[str]:
        chosen = [self._texts[at] for at in pool_N.tolist()]
        return [rewrite_for_mode(query, text, self._combine) for query, text in zip(queries, chosen, strict=True)]

    def _choose(self, queries: Sequence[str], vectors_PD: FloatArray) -> Choice:
        near_PK, cosine_PK = self._nearest(queries, vectors_PD)
        wanted_PN = beliefs(near_PK, cosine_PK, self._pool.bought_PC)
        asked_PC = np.argsort(-cosine_PK, axis=1, kind="stable")[:, : min(SEARCHED, self._neighbours)]
        count = asked_PC.shape[1]
        pool_PC, at = np.take_along_axis(near_PK, asked_PC, axis=1), np.repeat(np.arange(len(queries)), count)
        originals = [queries[n] for n in at.tolist()]
        texts = self._rewrites(originals, pool_PC.ravel())
        own_P = expected_gain(wanted_PN, self._search(queries, queries))
        with_C = expected_gain(wanted_PN[at], self._search(originals, texts))
        increment_PC = with_C.reshape(-1, count) - own_P[:, None]
        best_P = np.arange(len(queries)), increment_PC.argmax(axis=1)  # the nearer neighbour on a tie
        cosine_PC = np.take_along_axis(cosine_PK, asked_PC, axis=1)
        return Choice(pool_PC[best_P], increment_PC[best_P], cosine_PC[best_P])

    def _search(self, queries: Sequence[str], rewrites: Sequence[str], depth: int = DEPTH) -> Hits:
        self._searches += len(queries)
        return combining.search(self._retriever, queries, rewrites, self._combine, self._weight, depth)

    def _nearest(
        self, queries: Sequence[str], vectors_PD: FloatArray
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Places in the pool and cosines, (P, K), best first; a query is no neighbour of itself (cosine -inf)."""
        cosine_PK, near_PK = self._index.search(
            _unit(vectors_PD @ self._head_DD), min(self._neighbours + 1, len(self._texts))
        )
        itself_PK = self._plain[near_PK] == np.array([combining.plain(text) for text in queries])[:, None]
        return near_PK, np.where(itself_PK, -np.inf, cosine_PK.astype(np.float64))

    def _fit(self, log: PurchaseLog, texts: Sequence[str], vectors_PD: FloatArray) -> Thresholds:
        """Thresholds with which dev queries find the largest share of their purchases; ties go to the stricter one."""
        if not texts:
            return Thresholds()
        rows = np.arange(len(texts))
        choice = self._choose(texts, vectors_PD)
        before, after = (
            log.found_share(rows, self._search(texts, rewrites, FITTED_DEPTH))
            for rewrites in (texts, self._rewrites(texts, choice.pool_P))
        )
        tried = [
            Thresholds(cosine, increment)
            for cosine in _steps(choice.cosine_P)
            for increment in _steps(choice.increment_P)
        ]
        gains = [float(((after - before) * each.pass_P(choice)).sum()) for each in tried]
        best = max(range(len(tried)), key=lambda at: (round(gains[at], 6), tried[at].cosine, tried[at].increment))
        return tried[best]


def _steps(values_P: npt.NDArray[np.float64]) -> list[float]:
    """Thresholds to try: quantiles, and one that nothing passes."""
    finite = values_P[np.isfinite(values_P)]
    return [*np.quantile(finite, QUANTILES).tolist(), float("inf")] if len(finite) else [float("inf")]


def beliefs(
    near_PK: npt.NDArray[np.int64], cosine_PK: npt.NDArray[np.float64], bought_PC: sp.csr_matrix
) -> sp.csr_matrix:
    """(P, products) f(x, z) by the module's formula."""
    from scipy.special import softmax

    queries, k = near_PK.shape
    weights_PK = softmax(np.maximum(cosine_PK, -1e3) / TEMPERATURE, axis=1)
    starts = np.arange(0, near_PK.size + 1, k)
    weights_PQ = sp.csr_matrix((weights_PK.ravel(), near_PK.ravel(), starts), shape=(queries, bought_PC.shape[0]))
    return (weights_PQ @ bought_PC).tocsr()


def expected_gain(wanted_NP: sp.csr_matrix, hits: Hits) -> npt.NDArray[np.float64]:
    """(N,) Σ f(x, i-th hit) / log2(i + 1) over the hits of each line."""
    lines = np.arange(len(hits))[:, None].repeat(hits.rows_NK.shape[1], axis=1)
    belief_NK = np.asarray(wanted_NP[lines.ravel(), np.maximum(hits.rows_NK, 0).ravel()]).reshape(lines.shape)
    return dcg(np.where(hits.found_NK, belief_NK, 0.0))


def train_head(vectors_QD: FloatArray, bought_PC: sp.csr_matrix, seed: int = 0, epochs: int = EPOCHS) -> FloatArray:
    """(D, D) linear head, from the identity on, by InfoNCE with in-batch negatives, both ways.

    A pair is a step on the graph: from a query to a product bought for it, on to another query that bought it. In a
    batch, other queries that share a product are no negatives.
    """
    import torch

    rng = np.random.default_rng(seed)
    vectors = torch.from_numpy(np.ascontiguousarray(vectors_QD, np.float32))
    head = torch.eye(vectors.shape[1], requires_grad=True)
    optimizer = torch.optim.AdamW([head], lr=LEARNING_RATE, weight_decay=0.0)
    for _ in range(epochs):
        left_M, right_M = _walk(bought_PC, rng)
        for start in range(0, len(left_M), BATCH):
            left, right = left_M[start : start + BATCH], right_M[start : start + BATCH]
            loss = _info_nce(vectors[left] @ head, vectors[right] @ head, _alike(bought_PC, left, right))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return head.detach().numpy()


def _walk(bought_PC: sp.csr_matrix, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One partner for every query that has one, in random order: (left, right), (M,) each."""
    by_product = bought_PC.tocsc()
    product_Q = _one_of_each(bought_PC, np.arange(bought_PC.shape[0]), rng)
    partner_Q = _one_of_each(by_product, product_Q, rng)
    left_M = rng.permutation(np.flatnonzero(partner_Q != np.arange(len(partner_Q))))
    return left_M, partner_Q[left_M]


def _one_of_each(matrix: Any, lines: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each line of a compressed matrix (none is empty) one of its indices at random."""
    lengths = np.diff(matrix.indptr)[lines]
    return matrix.indices[matrix.indptr[lines] + (rng.random(len(lines)) * lengths).astype(np.int64)]


def _alike(bought_PC: sp.csr_matrix, left: np.ndarray, right: np.ndarray) -> Any:
    """(B, B) True where two different pairs' queries share a product, or are the same query."""
    import torch

    shared = torch.from_numpy((bought_PC[left] @ bought_PC[right].T).toarray() > 0)
    return shared & ~torch.eye(len(left), dtype=torch.bool)


def _info_nce(left_BD: Any, right_BD: Any, alike_BB: Any) -> Any:
    """Mean over both directions of −log softmax of the partner's cosine among the batch's."""
    import torch
    from torch.nn import functional

    cosine_BB = functional.normalize(left_BD) @ functional.normalize(right_BD).T
    logits_BB = (cosine_BB / TEMPERATURE).masked_fill(alike_BB, -torch.inf)
    target = torch.arange(len(left_BD))
    return (functional.cross_entropy(logits_BB, target) + functional.cross_entropy(logits_BB.T, target)) / 2


def _unit(vectors_ND: FloatArray) -> FloatArray:
    length_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors_ND / np.maximum(length_N1, 1e-9), np.float32)


def _index(vectors_QD: FloatArray) -> Any:
    import faiss

    index = faiss.IndexFlatIP(vectors_QD.shape[1])
    index.add(vectors_QD)
    return index


def _remembered(encoder: TextEncoder, texts: Sequence[str]) -> FloatArray:
    """Vectors of the texts, kept on disk by texts and encoder where the encoder has a cache folder."""
    root = getattr(encoder, "cache_dir", None)
    if root is None:
        return encoder.encode(texts, show_progress=True)
    key = sha256_text("\0".join((encoder.name, *texts)), 20)
    path = Path(root) / "vectors" / f"queries-{key}" / "queries.npy"
    if not path.is_file():
        with atomic_cache_folder(path.parent) as scratch:
            np.save(scratch / path.name, encoder.encode(texts, show_progress=True))
    return np.asarray(np.load(path))
