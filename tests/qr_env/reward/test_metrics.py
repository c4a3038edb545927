"""The array metrics against ir_measures and against plain loops."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
import scipy.sparse as sp

from qr_env.common.types import GAINS
from qr_env.reward import metrics

K = 10


@pytest.fixture(scope="module")
def judged() -> tuple[np.ndarray, np.ndarray]:
    """(levels of every product for 40 queries, 15 retrieved rows a query)."""
    generator = np.random.default_rng(0)
    levels_PN = generator.choice(4, size=(40, 60), p=[0.8, 0.08, 0.08, 0.04])
    levels_PN[3] = 0
    return levels_PN, np.stack([generator.permutation(60)[:15] for _ in range(40)]).astype(np.int32)


def test_ndcg_equals_ir_measures(judged: tuple[np.ndarray, np.ndarray]) -> None:
    levels_PN, rows_PK = judged
    gains_PK = GAINS[np.take_along_axis(levels_PN, rows_PK, axis=1)]
    ours = metrics.ndcg(gains_PK, metrics.ideal_dcg(sp.csr_matrix((levels_PN + 1).astype(np.int8))))
    qrels = [ir_measures.Qrel(str(q), str(p), int(level)) for (q, p), level in np.ndenumerate(levels_PN)]
    run = [ir_measures.ScoredDoc(str(q), str(p), -float(rank)) for (q, rank), p in np.ndenumerate(rows_PK)]
    measure = ir_measures.nDCG(gains={1: 1, 2: 10, 3: 100}) @ K
    reference = {m.query_id: m.value for m in ir_measures.iter_calc([measure], qrels, run)}
    np.testing.assert_allclose(ours, [reference[str(q)] for q in range(40)], atol=1e-6)
    assert ours[3] == 0


def test_recall_equals_ir_measures(judged: tuple[np.ndarray, np.ndarray]) -> None:
    levels_PN, rows_PK = judged
    relevant_PK = np.take_along_axis(levels_PN, rows_PK, axis=1) == 3
    qrels = [ir_measures.Qrel(str(q), str(p), int(level)) for (q, p), level in np.ndenumerate(levels_PN)]
    run = [ir_measures.ScoredDoc(str(q), str(p), -float(rank)) for (q, rank), p in np.ndenumerate(rows_PK)]
    found = {m.query_id: m.value for m in ir_measures.iter_calc([ir_measures.R(rel=3) @ 15], qrels, run)}
    recall_P = metrics.recall(relevant_PK, (levels_PN == 3).sum(axis=1))
    np.testing.assert_allclose(recall_P, [found[str(q)] for q in range(40)], atol=1e-9)


def test_ten_exact_products_are_the_best_list() -> None:
    assert metrics.best_dcg() == pytest.approx(4.543559, abs=1e-6)
    assert metrics.dcg(np.ones((3, 25)))[1] == metrics.best_dcg()


def test_a_list_scores_the_same_alone_and_in_a_batch() -> None:
    gains_NK = np.random.default_rng(1).random((300, 10)).astype(np.float32)
    batch_N = metrics.dcg(gains_NK)
    assert [float(metrics.dcg(gains_NK[n : n + 1])[0]) for n in range(300)] == batch_N.tolist()


def test_empty_lists() -> None:
    nothing = np.zeros((2, 0))
    assert metrics.dcg(nothing).tolist() == [0, 0]
