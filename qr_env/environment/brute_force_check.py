"""Compare every result list of a running BM25 environment with a brute-force search, and count the errors.

    envs = BruteForceCheck(envs)    # setting traffic.check_hits of `qr online`; `qr bench churn`
    envs.step(rewrites)
    envs.counts                     # results, lists, epochs, replaced, and the errors: not on sale, wrong, missing

Brute force is one sparse product of bm25s' own matrix with all products; it shares nothing with this project's search
loop or caches. "not on sale": the product is not on sale. "wrong": the hit does not have the score that belongs at
its rank, or appears twice. "missing": the place is empty although another product on sale matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qr_env.common.errors import ConfigError
from qr_env.common.types import Hits, SearchText
from qr_env.environment.simulator import Observation
from qr_env.environment.vector_env import QueryRewriteVectorEnv, StepResult
from qr_env.environment.wrapper import QueryRewriteWrapper
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.combine import combined_texts
from qr_env.retrieval.live_catalogue import View

ERRORS = ("not on sale", "wrong", "missing")
CHECKED = ("results", *ERRORS)
TOLERANCE = 1e-4  # of a BM25 score: float32 sums in a different order
BoolArray = npt.NDArray[np.bool_]


def require_checkable(retriever: str, mode: str, max_turns: int) -> None:
    """Raise ConfigError unless the engine is BM25 and every list is the result of one search (no union, one turn)."""
    if retriever.partition(":")[0] != "bm25":
        raise ConfigError(f"retriever {retriever}: only bm25 can be checked by brute force; leave check_hits out")
    if mode == "union" or max_turns > 1:
        raise ConfigError(
            f"combine={mode}, max_turns={max_turns}: lists can be checked for expand and replace with one turn; leave "
            "check_hits out"
        )


class BruteForceScores:
    """Scores of all products for any texts, from the index's matrix alone."""

    def __init__(self, engine: BM25) -> None:
        scores: dict[str, Any] = engine.engine.scores
        shape = (len(scores["indptr"]) - 1, engine.num_docs)
        self.engine = engine
        self.weights_VC = sp.csr_matrix((scores["data"], scores["indices"], scores["indptr"]), shape=shape)

    def compare(self, texts: Sequence[SearchText], hits: Hits, on_sale_C: BoolArray) -> npt.NDArray[np.int64]:
        """Number of hits, of hits not on sale, wrong hits and missing hits, (4,), in the order of `CHECKED`."""
        scores_NC = self._scores(texts)
        scores_NC[:, ~on_sale_C] = 0.0
        k = hits.rows_NK.shape[1]
        best_NK = -np.sort(-np.partition(scores_NC, -k, axis=1)[:, -k:], axis=1)
        rows_NK, found_NK = hits.rows_NK, hits.found_NK
        not_on_sale_NK = found_NK & ~on_sale_C[rows_NK]
        own_NK = np.take_along_axis(scores_NC, np.maximum(rows_NK, 0).astype(np.int64), axis=1)
        off_NK = (np.abs(own_NK - best_NK) > TOLERANCE) | (
            np.abs(np.where(found_NK, hits.scores_NK, 0) - own_NK) > TOLERANCE
        )
        twice_NK = np.diff(np.sort(np.where(found_NK, rows_NK, -1 - np.arange(k)), axis=1), axis=1) == 0
        wrong = int((found_NK & off_NK).sum()) + int(twice_NK.sum())
        return np.array([found_NK.sum(), not_on_sale_NK.sum(), wrong, (~found_NK & (best_NK > 0)).sum()])

    def _scores(self, texts: Sequence[SearchText]) -> npt.NDArray[np.float32]:
        ids, weights, starts = self.engine.encode(texts)
        words = sp.csr_matrix((weights, ids, starts), shape=(len(texts), self.weights_VC.shape[0]))
        scores_NC: npt.NDArray[np.float32] = (words @ self.weights_VC).toarray()
        return scores_NC


class BruteForceCheck(QueryRewriteWrapper):
    """Checks the lists before and after the rewrites of every step of the wrapped environment.

    `counts`: results, lists, epochs, products on sale at the first step but not now ("replaced"), and `ERRORS`. They
    are part of the state, so a resumed run continues them.

    Raises ConfigError as `require_checkable`.
    """

    def __init__(self, env: QueryRewriteVectorEnv | QueryRewriteWrapper) -> None:
        super().__init__(env)
        simulator, retriever = env.simulator, env.simulator.retriever
        engine = retriever.engine if isinstance(retriever, View) else retriever
        require_checkable(engine.name, simulator.mode, simulator.max_turns)
        assert isinstance(engine, BM25)
        self.brute_force = BruteForceScores(engine)
        self.counts = dict.fromkeys(("results", "lists", "epochs", "replaced", *ERRORS), 0)
        self._first_C: BoolArray | None = None
        self._last_C: BoolArray | None = None

    def step(self, actions: Sequence[str]) -> StepResult:
        """Step the wrapped environment, and add the results and errors of its lists to `counts`."""
        on_sale_C, queries = self._on_sale(), self.simulator.queries_N
        result = self.env.step(actions)
        infos, g = result[-1], self.group_size
        originals = [query.text for query in queries]
        both = combined_texts(originals, actions, self.simulator.mode, self.simulator.original_weight)
        kept = infos["feedback"].kept.tolist()
        searched = [text if keep else new for text, new, keep in zip(originals, both, kept, strict=True)]
        self._count(originals[::g], infos["hits_before"][::g], on_sale_C)
        self._count(searched, infos["hits_after"], on_sale_C)
        return result

    def _on_sale(self) -> BoolArray:
        """Mask of the epoch of this step's episodes; counts an epoch that is new."""
        retriever = self.simulator.retriever
        everything_C = np.ones(self.brute_force.engine.num_docs, np.bool_)
        on_sale_C = retriever.epoch.on_sale_C if isinstance(retriever, View) else everything_C
        if self._last_C is None or not np.array_equal(on_sale_C, self._last_C):
            self.counts["epochs"] += 1
        self._first_C = on_sale_C if self._first_C is None else self._first_C
        self._last_C = on_sale_C
        self.counts["replaced"] = int((self._first_C & ~on_sale_C).sum())
        return on_sale_C

    def _count(self, texts: Sequence[SearchText], hits: Hits, on_sale_C: BoolArray) -> None:
        self.counts["lists"] += len(texts)
        for name, value in zip(CHECKED, self.brute_force.compare(texts, hits, on_sale_C).tolist(), strict=True):
            self.counts[name] += value

    def state_dict(self) -> dict[str, Any]:
        """State of the environment, and the counts."""
        checks = {"counts": dict(self.counts), "first_C": self._first_C, "last_C": self._last_C}
        return {**self.env.state_dict(), "checked": checks}

    def load_state_dict(self, state: dict[str, Any]) -> Observation:
        """Restore a state; returns the environment's observation."""
        checks = state.get("checked", {})
        self.counts |= checks.get("counts", {})
        self._first_C, self._last_C = checks.get("first_C"), checks.get("last_C")
        return self.env.load_state_dict({name: part for name, part in state.items() if name != "checked"})
