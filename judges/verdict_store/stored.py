"""Turns a judge of texts into a judge of one shop, with its verdicts stored; and replays them from the store alone.

    with VerdictStore(folder) as store:
        judge = ShopJudge(shop, LLMJudge(urls), store)      # asks only for pairs that are not in the store
        judge = replay(shop, store)                         # the same verdicts with no judge present

A batch is deduplicated and looked up, and the judge is asked for the rest, query by query. Verdicts are committed as
they arrive, so a restarted run does not ask for them again. Missing verdicts are never stored: the next run asks
again. Hence a replay equals the run byte for byte if the run had every verdict; a verdict that was missing is
found by the replay if it was obtained later, and else counts as missing, "not in store".
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

CHUNK = 1_024  # pairs a call where the judge does not stream
COMMIT_SHARE = 0.1  # greatest share of time spent on commits, each of which waits for the disk
SUM_TOLERANCE = 1e-3  # by which probabilities may miss a sum of 1

Pairs = Sequence[tuple[str, str]]
Indices = npt.NDArray[np.int64]


class ShopJudge:
    """A `Judge` of one shop that looks up the store first, where there is one, and asks `pair_judge` for the rest.

    Args:
        shop: the shop whose products are graded.
        pair_judge: reads the texts. It may offer `grade_stream(pairs)`, an iterator of (indices into `pairs`, their
            (m, 4) probabilities) in any order, so that verdicts are stored as they arrive; else it is asked for
            1,024 pairs at a time. It may offer `product_digests(shop)` where it has no texts (`ReplayOnly`).
        store: keeps verdicts; None keeps nothing beyond the batch.
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
        """(C, 2) digests of the judge's product texts; saved in the store, for replays."""
        if offered := getattr(self.pair_judge, "product_digests", None):
            known: Digests = offered(self.shop)
            return known
        digests_C2 = digests(self._texts)
        if self.store is not None:
            self.store.save_shop_digests(self.pair_judge.fingerprint, self.shop.products_hash, digests_C2)
        return digests_C2

    @cached_property
    def _first_row(self) -> Indices:
        """(C,) for each row, the first row of the shop with the same product text."""
        digest_C = np.ascontiguousarray(self._digests).view("S16").ravel()
        _, first, inverse = np.unique(digest_C, return_index=True, return_inverse=True)
        return first[inverse]

    def for_shop(self, shop: Shop) -> ShopJudge:
        """The same judge for another shop's products, with the same store."""
        return ShopJudge(shop, self.pair_judge, self.store)

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """Verdicts of rows_NK[n, k] for queries[n], (N, K, 4); NaN where missing, and on padding."""
        probs_NK4 = np.full((*rows_NK.shape, len(LEVELS)), np.nan, np.float32)
        real_NK = rows_NK >= 0
        if not real_NK.any():
            return Grades(probs_NK4)
        place = {text: n for n, text in enumerate(dict.fromkeys(query.text for query in queries))}
        place_N = np.array([place[query.text] for query in queries], np.int64)
        # One code a pair, ordered by query: equal pairs get one code, and a judge computes a shared prefix once.
        size = len(self.shop.products)
        codes_M = (place_N[:, None] * size + self._first_row[rows_NK])[real_NK]
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
            probs_U4[missing] = self._ask_judge([(texts[query], self._texts[row]) for query, row in wanted])
        return probs_U4

    def _ask_judge(self, pairs: Pairs) -> FloatArray:
        """Verdicts of the judge, (M, 4), committed as they arrive, also when an exception ends the stream."""
        probs_M4 = np.full((len(pairs), len(LEVELS)), np.nan, np.float32)
        pending: list[Indices] = []
        due = 0.0
        try:
            for indices, part in self._stream(pairs):
                self._check_probabilities(pairs, indices, part)
                probs_M4[indices] = np.where(np.isnan(part).any(axis=1, keepdims=True), np.nan, part)
                pending.append(np.asarray(indices, np.int64))
                if time.monotonic() >= due:
                    due = self._commit(pairs, probs_M4, pending)
        finally:
            self._commit(pairs, probs_M4, pending)
        return probs_M4

    def _stream(self, pairs: Pairs) -> Iterator[tuple[Indices | Sequence[int], FloatArray]]:
        if stream := getattr(self.pair_judge, "grade_stream", None):
            yield from stream(pairs)
            return
        for start in range(0, len(pairs), CHUNK):
            part = pairs[start : start + CHUNK]
            yield np.arange(start, start + len(part)), self.pair_judge.grade_pairs(part)

    def _check_probabilities(self, pairs: Pairs, indices: Indices | Sequence[int], probs_M4: FloatArray) -> None:
        """JudgeError unless these are probabilities or NaN: nothing else may enter a store."""
        if probs_M4.shape != (len(indices), len(LEVELS)):
            raise JudgeError(f"judge {self.name}: verdicts of shape {probs_M4.shape} for {len(indices)} pairs")
        off_M = (np.abs(probs_M4.sum(axis=1) - 1) > SUM_TOLERANCE) | (probs_M4 < 0).any(axis=1)
        if off_M.any():
            at = int(np.argmax(off_M))
            raise JudgeError(
                f"judge {self.name}: {probs_M4[at]} for query {pairs[indices[at]][0]!r} are no probabilities over "
                f"{', '.join(LEVELS)}; nothing of it was stored: repair the judge"
            )

    def _commit(self, pairs: Pairs, probs_M4: FloatArray, pending: list[Indices]) -> float:
        """Commit pending verdicts and set `probs_M4` to what the store holds. Returns the time of the next commit."""
        start = time.monotonic()
        if pending and self.store is not None:
            indices = np.concatenate(pending)
            chosen = [pairs[m] for m in indices.tolist()]
            probs_M4[indices] = self.store.put(self.pair_judge.fingerprint, chosen, probs_M4[indices])
        pending.clear()
        now = time.monotonic()
        return now + (now - start) * (1 / COMMIT_SHARE - 1)


class ReplayOnly:
    """A `PairJudge` without verdicts of its own: a `ShopJudge` of it grades only what is in the store.

    Args:
        fingerprint: of the judge whose verdicts are replayed.
        store: holds the digests of that judge's product texts.
    """

    name = "replay"

    def __init__(self, fingerprint: str, store: VerdictStore) -> None:
        self.fingerprint = fingerprint
        self.store = store
        self._missing = 0

    def product_digests(self, shop: Shop) -> Digests:
        """(C, 2), as the judge itself saved them."""
        digests_C2 = self.store.shop_digests(self.fingerprint, shop.products_hash)
        if digests_C2 is None:
            raise JudgeError(
                f"{self.store.path}: {self.fingerprint} never graded the catalogue of {shop!r} (products hash "
                f"{shop.products_hash[:12]}…); replay with the shop of the run, or run with the judge first"
            )
        return digests_C2

    def product_texts(self, shop: Shop) -> list[str]:
        """Empty: no text is read."""
        return [""] * len(shop.products)

    def grade_pairs(self, pairs: Pairs) -> FloatArray:
        """All missing."""
        self._missing += len(pairs)
        return np.full((len(pairs), len(LEVELS)), np.nan, np.float32)

    def stats(self) -> dict[str, float]:
        """Number of verdicts that were not in the store, counted in every batch that needs them."""
        return {"asked": self._missing, "missing": self._missing, "missing/not in store": self._missing}


def replay(shop: Shop, store: VerdictStore, fingerprint: str | None = None) -> ShopJudge:
    """A judge that answers from the store alone.

    fingerprint: of the judge, or its beginning; None takes the only judge that graded the shop. Raises JudgeError
    where that is not exactly one, with the judges that there are.
    """
    known = store.judges()
    about = [row for row in known if shop.products_hash in row["shops"]]
    fitting = [row for row in about if row["fingerprint"].startswith(fingerprint or "")]
    chosen = [row for row in fitting if row["fingerprint"] == fingerprint] or fitting
    if len(chosen) != 1:
        wanted = f"{len(chosen)} judges" + (f" with {fingerprint!r}" if fingerprint else "")
        judges = "; ".join(f"{row['fingerprint']} ({row['verdicts']:,} verdicts)" for row in about or known) or "none"
        where = "that graded this shop" if about else "of other shops"
        raise JudgeError(
            f"{store.path}: {wanted} to replay on {shop!r}; {where} there are: {judges}; name one, or run with a judge"
        )
    return ShopJudge(shop, ReplayOnly(chosen[0]["fingerprint"], store), store)
