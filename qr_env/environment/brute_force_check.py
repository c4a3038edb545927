"""Every list that a running environment shows, compared with a brute-force search: BM25 only, counts of what is wrong.

    envs = BruteForceCheck(envs)          # steps as before; `qr online --check-hits`, `qr bench churn`
    envs.step(rewrites)
    envs.counts                   # results, lists, epochs, replaced, ghosts, wrong, holes

Brute force is one sparse product of bm25s' own matrix with all products, and nothing of our search, its index or its
caches. A ghost is a product that is not on sale; a wrong hit does not have the score that belongs at its rank, or
stands twice; a hole is a place left empty though something on sale matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qr_env.common.errors import ConfigError
from qr_env.common.types import Hits, SearchText
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.combine import joined
from qr_env.retrieval.live_catalogue import View

if TYPE_CHECKING:
    from qr_env.environment.vector_env import QueryRewriteVectorEnv

WRONG = ("ghosts", "wrong", "holes")
FOUND = ("results", *WRONG)
TOLERANCE = 1e-4  # of a BM25 score: float32 sums in another order
BoolArray = npt.NDArray[np.bool_]


def can_check(retriever: str, mode: str, max_turns: int) -> None:
    """ConfigError where the engine is not BM25, or the lists are not those of one text: union, several turns."""
    if retriever != "bm25":
        raise ConfigError(f"retriever {retriever}: brute force knows bm25 only; leave --check-hits out")
    if mode == "union" or max_turns > 1:
        raise ConfigError(
            f"combine={mode}, max_turns={max_turns}: lists are checked for expand and replace with one turn; leave "
            "--check-hits out"
        )


class Truth:
    """The scores of all products for any texts, from the index's matrix alone."""

    def __init__(self, engine: BM25) -> None:
        scores: Any = engine.engine.scores
        shape = (len(scores["indptr"]) - 1, engine.num_docs)
        self.engine = engine
        self.weights_T_P = sp.csr_matrix((scores["data"], scores["indices"], scores["indptr"]), shape=shape)

    def compare(self, texts: Sequence[SearchText], hits: Hits, on_sale_C: BoolArray) -> npt.NDArray[np.int64]:
        """How many hits were checked, how many were ghosts, wrong, and how many holes there are; (4,), as `FOUND`."""
        scores_NP = self._scores(texts)
        scores_NP[:, ~on_sale_C] = 0.0
        k = hits.rows_NK.shape[1]
        best_NK = -np.sort(-np.partition(scores_NP, -k, axis=1)[:, -k:], axis=1)
        rows_NK, found_NK = hits.rows_NK, hits.found_NK
        ghosts_NK = found_NK & ~on_sale_C[rows_NK]
        own_NK = np.take_along_axis(scores_NP, np.maximum(rows_NK, 0).astype(np.int64), axis=1)
        off_NK = (np.abs(own_NK - best_NK) > TOLERANCE) | (
            np.abs(np.where(found_NK, hits.scores_NK, 0) - own_NK) > TOLERANCE
        )
        twice_NK = np.diff(np.sort(np.where(found_NK, rows_NK, -1 - np.arange(k)), axis=1), axis=1) == 0
        wrong = int((found_NK & off_NK).sum()) + int(twice_NK.sum())
        return np.array([found_NK.sum(), ghosts_NK.sum(), wrong, (~found_NK & (best_NK > 0)).sum()])

    def _scores(self, texts: Sequence[SearchText]) -> npt.NDArray[np.float32]:
        ids, weights, starts = self.engine._encode(texts)
        words = sp.csr_matrix((weights, ids, starts), shape=(len(texts), self.weights_T_P.shape[0]))
        scores_NP: npt.NDArray[np.float32] = (words @ self.weights_T_P).toarray()
        return scores_NP


class BruteForceCheck:
    """A vectorised environment whose lists are all checked, those before and those after the rewrites of every step.

    Everything else is the environment's own. `counts`: results, lists, epochs seen, products that were on sale at the
    first step and are not now, and `WRONG`; they are part of the state, so a resumed run goes on counting.

    Raises ConfigError as `can_check`.
    """

    def __init__(self, envs: QueryRewriteVectorEnv) -> None:
        simulator, retriever = envs.simulator, envs.simulator.retriever
        engine = retriever.engine if isinstance(retriever, View) else retriever
        can_check(engine.name, simulator.mode, simulator.max_turns)
        assert isinstance(engine, BM25)
        self.envs, self.truth = envs, Truth(engine)
        self.counts = dict.fromkeys(("results", "lists", "epochs", "replaced", *WRONG), 0)
        self._first_P: BoolArray | None = None
        self._last_P: BoolArray | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.envs, name)

    def step(self, actions: Sequence[str]) -> Any:
        """The environment's, counted."""
        on_sale_C, queries = self._on_sale(), self.envs.simulator.queries_N
        result = self.envs.step(actions)
        infos, g = result[-1], self.envs.group_size
        asked = [query.text for query in queries]
        both = joined(asked, actions, self.envs.simulator.mode, self.envs.simulator.original_weight)
        kept = infos["feedback"].kept.tolist()
        shown = [text if keep else new for text, new, keep in zip(asked, both, kept, strict=True)]
        self._count(asked[::g], infos["hits_before"][::g], on_sale_C)
        self._count(shown, infos["hits_after"], on_sale_C)
        return result

    def _on_sale(self) -> BoolArray:
        """What the episodes of this step see; an epoch that was not seen yet is counted."""
        retriever = self.envs.simulator.retriever
        everything_P = np.ones(self.truth.engine.num_docs, np.bool_)
        on_sale_C = retriever.epoch.on_sale_C if isinstance(retriever, View) else everything_P
        if self._last_P is None or not np.array_equal(on_sale_C, self._last_P):
            self.counts["epochs"] += 1
        self._first_P = on_sale_C if self._first_P is None else self._first_P
        self._last_P = on_sale_C
        self.counts["replaced"] = int((self._first_P & ~on_sale_C).sum())
        return on_sale_C

    def _count(self, texts: Sequence[SearchText], hits: Hits, on_sale_C: BoolArray) -> None:
        self.counts["lists"] += len(texts)
        for name, value in zip(FOUND, self.truth.compare(texts, hits, on_sale_C).tolist(), strict=True):
            self.counts[name] += value

    def state_dict(self) -> dict[str, Any]:
        """The environment's, and the counts."""
        seen = {"counts": dict(self.counts), "first_P": self._first_P, "last_P": self._last_P}
        return {**self.envs.state_dict(), "checked": seen}

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Restore what `state_dict` gave; the environment's observation."""
        seen = state.get("checked", {})
        self.counts |= seen.get("counts", {})
        self._first_P, self._last_P = seen.get("first_P"), seen.get("last_P")
        return self.envs.load_state_dict({name: part for name, part in state.items() if name != "checked"})
