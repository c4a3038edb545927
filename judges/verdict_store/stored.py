"""A judge of texts made a judge of one shop, with its verdicts kept; and the same from the store alone.

    with VerdictStore(folder) as store:
        judge = ShopJudge(shop, LLMJudge(urls), store)      # asks only for what nobody asked before
        judge = replay(shop, store)                         # the same verdicts with no judge present

A batch is deduplicated, looked up, and what is missing is asked for query by query; verdicts are committed as they
come, so a run that is killed has paid for each of them once. Missing verdicts are never kept: next time the judge may
answer. Hence a replay is the run byte for byte as long as the run had every verdict; where one was missing, the replay
has it if anybody obtained it later, and counts it as missing, "not in store", otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from judges.base import PairJudge
from judges.verdict_store.index import Digests, digests, pair_keys
from judges.verdict_store.store import VerdictStore
from qr_env.common.errors import JudgeError
from qr_env.common.types import LEVELS, FloatArray, Grades, Query, RowArray
from qr_env.shop.shop import Shop

CHUNK = 1_024  # pairs asked at a time where the judge does not stream
COMMIT_SHARE = 0.1  # of the time goes to commits at most, each of which waits for the disk
SUM_TOLERANCE = 1e-3

Pairs = Sequence[tuple[str, str]]
Indices = npt.NDArray[np.int64]


class ShopJudge:
    """A `Judge` of one shop that asks `pair_judge`, and the store first where there is one.

    Args:
        shop: whose products are graded.
        pair_judge: what reads the texts. It may offer `grade_stream(pairs)`, an iterator of (indices into `pairs`,
            their (m, 4) probabilities) in any order, so that verdicts are kept as they come; else it is asked for
            1,024 pairs at a time. It may offer `product_digests(shop)` where it has no texts (`ReplayOnly`).
        store: where verdicts are kept; None keeps nothing beyond the batch.
    """

    def __init__(self, shop: Shop, pair_judge: PairJudge, store: VerdictStore | None = None) -> None:
        self.shop, self.pair_judge, self.store = shop, pair_judge, store
        self.name = pair_judge.name
        self._asked = self._hits = 0

    @cached_property
    def _texts(self) -> list[str]:
        texts = self.pair_judge.product_texts(self.shop)
        if len(texts) != len(self.shop.products):
            raise JudgeError(f"judge {self.name}: {len(texts)} product texts for {self.shop!r}: it must give one each")
        return texts

    @cached_property
    def _digests(self) -> Digests:
        """(P, 2), of what the judge reads of each product; entered in the store, for replays."""
        if offered := getattr(self.pair_judge, "product_digests", None):
            known: Digests = offered(self.shop)
            return known
        digests_P2 = digests(self._texts)
        if self.store is not None:
            self.store.keep_shop(self.pair_judge.fingerprint, self.shop.products_hash, digests_P2)
        return digests_P2

    @cached_property
    def _first(self) -> Indices:
        """(P,) first row of the shop that reads the same as each row."""
        whole_P = np.ascontiguousarray(self._digests).view("S16").ravel()
        _, first, inverse = np.unique(whole_P, return_index=True, return_inverse=True)
        return first[inverse]

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """Verdicts of rows_NK[n, k] for queries[n], (N, K, 4); NaN where missing, and on padding."""
        probs_NK4 = np.full((*rows_NK.shape, len(LEVELS)), np.nan, np.float32)
        real_NK = rows_NK >= 0
        if not real_NK.any():
            return Grades(probs_NK4)
        place = {text: n for n, text in enumerate(dict.fromkeys(query.text for query in queries))}
        place_N = np.array([place[query.text] for query in queries], np.int64)
        # One number a pair, so that equal ones meet, ordered by query: a judge computes a shared prefix once.
        size = len(self.shop.products)
        codes_M = (place_N[:, None] * size + self._first[rows_NK])[real_NK]
        codes_U, inverse_M = np.unique(codes_M, return_inverse=True)
        probs_NK4[real_NK] = self._verdicts(list(place), *np.divmod(codes_U, size))[inverse_M]
        return Grades(probs_NK4)

    def stats(self) -> dict[str, float]:
        """The pair judge's counts; and distinct pairs of a batch looked up in the store, and found."""
        counts = self.pair_judge.stats()
        if self.store is None:
            return counts
        rate = self._hits / self._asked if self._asked else np.nan
        return counts | {"store/asked": self._asked, "store/hits": self._hits, "store/hit_rate": rate}

    def _verdicts(self, texts: list[str], query_U: Indices, row_U: Indices) -> FloatArray:
        """Verdicts of U distinct pairs (place of the query in `texts`, product row), (U, 4)."""
        probs_U4 = np.full((len(query_U), len(LEVELS)), np.nan, np.float32)
        if self.store is not None:
            keys_U2 = pair_keys(digests(texts)[query_U], self._digests[row_U])
            probs_U4 = self.store.get(self.pair_judge.fingerprint, keys_U2)
        missing = np.flatnonzero(np.isnan(probs_U4[:, 0]))
        self._asked += len(query_U)
        self._hits += len(query_U) - len(missing)
        if len(missing):
            wanted = zip(query_U[missing].tolist(), row_U[missing].tolist(), strict=True)
            probs_U4[missing] = self._ask([(texts[query], self._texts[row]) for query, row in wanted])
        return probs_U4

    def _ask(self, pairs: Pairs) -> FloatArray:
        """Verdicts of the judge, (M, 4), committed as they come, and whatever ends it."""
        probs_M4 = np.full((len(pairs), len(LEVELS)), np.nan, np.float32)
        waiting: list[Indices] = []
        due = 0.0
        try:
            for indices, part in self._stream(pairs):
                self._check(pairs, indices, part)
                probs_M4[indices] = np.where(np.isnan(part).any(axis=1, keepdims=True), np.nan, part)
                waiting.append(np.asarray(indices, np.int64))
                if time.monotonic() >= due:
                    due = self._keep(pairs, probs_M4, waiting)
        finally:
            self._keep(pairs, probs_M4, waiting)
        return probs_M4

    def _stream(self, pairs: Pairs) -> Iterator[tuple[Indices | Sequence[int], FloatArray]]:
        if stream := getattr(self.pair_judge, "grade_stream", None):
            yield from stream(pairs)
            return
        for start in range(0, len(pairs), CHUNK):
            part = pairs[start : start + CHUNK]
            yield np.arange(start, start + len(part)), self.pair_judge.grade_pairs(part)

    def _check(self, pairs: Pairs, indices: Indices | Sequence[int], probs_M4: FloatArray) -> None:
        """JudgeError unless these are probabilities or missing: a store must not keep anything else."""
        if probs_M4.shape != (len(indices), len(LEVELS)):
            raise JudgeError(f"judge {self.name}: verdicts of shape {probs_M4.shape} for {len(indices)} pairs")
        off_M = (np.abs(probs_M4.sum(axis=1) - 1) > SUM_TOLERANCE) | (probs_M4 < 0).any(axis=1)
        if off_M.any():
            at = int(np.argmax(off_M))
            raise JudgeError(
                f"judge {self.name}: {probs_M4[at]} for query {pairs[indices[at]][0]!r} are no probabilities over "
                f"{', '.join(LEVELS)}; nothing of it was kept: mend the judge"
            )

    def _keep(self, pairs: Pairs, probs_M4: FloatArray, waiting: list[Indices]) -> float:
        """Commit what waits; afterwards `probs_M4` holds what the store holds. Returns when the next commit is due."""
        start = time.monotonic()
        if waiting and self.store is not None:
            indices = np.concatenate(waiting)
            chosen = [pairs[m] for m in indices.tolist()]
            probs_M4[indices] = self.store.put(self.pair_judge.fingerprint, chosen, probs_M4[indices])
        waiting.clear()
        now = time.monotonic()
        return now + (now - start) * (1 / COMMIT_SHARE - 1)


class ReplayOnly:
    """A `PairJudge` that knows nothing: with a `ShopJudge`, only what is in the store is graded.

    Args:
        fingerprint: whose verdicts, as in the store.
        store: knows what that judge read of the shop's products.
    """

    name = "replay"

    def __init__(self, fingerprint: str, store: VerdictStore) -> None:
        self.fingerprint = fingerprint
        self.store = store
        self._missing = 0

    def product_digests(self, shop: Shop) -> Digests:
        """(P, 2), as the judge itself once entered them."""
        digests_P2 = self.store.shop(self.fingerprint, shop.products_hash)
        if digests_P2 is None:
            raise JudgeError(
                f"{self.store.path}: {self.fingerprint} never graded the catalogue of {shop!r} (products hash "
                f"{shop.products_hash[:12]}…); replay with the shop of the run, or run with the judge first"
            )
        return digests_P2

    def product_texts(self, shop: Shop) -> list[str]:
        """Nothing to read: nobody is asked."""
        return [""] * len(shop.products)

    def grade_pairs(self, pairs: Pairs) -> FloatArray:
        """All missing."""
        self._missing += len(pairs)
        return np.full((len(pairs), len(LEVELS)), np.nan, np.float32)

    def stats(self) -> dict[str, float]:
        """How many verdicts were not in the store, counted again in every batch that wants them."""
        return {"asked": self._missing, "missing": self._missing, "missing/not in store": self._missing}


def replay(shop: Shop, store: VerdictStore, fingerprint: str | None = None) -> ShopJudge:
    """The judge whose verdicts on this shop are in the store, from the store alone.

    fingerprint: which judge, or the beginning of its fingerprint; None takes the only one that graded the shop.
    Raises JudgeError where that is not exactly one, naming those there are.
    """
    known = store.judges()
    about = [row for row in known if shop.products_hash in row["shops"]]
    fitting = [row for row in about if row["fingerprint"].startswith(fingerprint or "")]
    chosen = [row for row in fitting if row["fingerprint"] == fingerprint] or fitting
    if len(chosen) != 1:
        wanted = f"{len(chosen)} judges" + (f" with {fingerprint!r}" if fingerprint else "")
        there = "; ".join(f"{row['fingerprint']} ({row['verdicts']:,} verdicts)" for row in about or known) or "none"
        where = "that graded this shop" if about else "of other shops"
        raise JudgeError(
            f"{store.path}: {wanted} to replay on {shop!r}; {where} there are: {there}; name one, or run with a judge"
        )
    return ShopJudge(shop, ReplayOnly(chosen[0]["fingerprint"], store), store)
