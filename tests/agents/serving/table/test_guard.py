"""The guard: means and intervals of the judge's nDCG@10, against drawing levels, and what passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.serving.rewritten import rewritten
from agents.serving.table.entry import Judged, TableEntry
from agents.serving.table.guard import GuardSettings, compared, decided, judge_rows, mean_probs, verdict
from judges.simple.labels import LabelsJudge
from qr_env.common.types import GAINS, Grades, Query
from qr_env.retrieval.combine import search
from tests.helpers.fakes import WordRetriever, tiny_shop

DISCOUNT_K = 1 / np.log2(np.arange(2, 12))


class Moody:
    """A judge whose verdicts change with every call; every third has none."""

    name = "moody"

    def __init__(self) -> None:
        self.calls = 0

    def grade(self, queries, rows_NK):  # type: ignore[no-untyped-def]
        self.calls += 1
        probs_NK4 = np.zeros((*rows_NK.shape, 4), np.float32)
        probs_NK4[..., 3 if self.calls % 2 else 0] = 1
        if self.calls % 3 == 0:
            probs_NK4[:] = np.nan
        return Grades(probs_NK4)


def random_probs(rng: np.random.Generator) -> np.ndarray:
    return rng.dirichlet(np.ones(4), 30).astype(np.float32)


def test_mean_and_interval_are_those_of_drawn_levels() -> None:
    rng = np.random.default_rng(0)
    probs = random_probs(rng)
    rows = [rng.permutation(15)[:10], rng.permutation(15)[:10]]
    judged = compared([row.astype(np.int32) for row in rows], [probs[row] for row in rows])
    gains_RM = GAINS[np.array([rng.choice(4, 40_000, p=p / p.sum()) for p in probs.astype(np.float64)[:15]]).T]
    lists = [(gains_RM[:, row] * DISCOUNT_K).sum(axis=1) for row in rows]
    expected = np.sort((probs @ GAINS)[:15][np.unique(np.concatenate(rows))])[::-1][:10]
    difference_R = (lists[1] - lists[0]) / (expected * DISCOUNT_K).sum()
    assert judged.gain == pytest.approx(difference_R.mean(), abs=0.005)
    assert judged.low is not None and judged.high is not None
    assert judged.high - judged.low == pytest.approx(2 * 1.96 * difference_R.std(), rel=0.02)


def test_equal_lists_differ_by_nothing_however_unsure_the_judge_is() -> None:
    probs = random_probs(np.random.default_rng(1))[:10]
    rows_K = np.arange(10, dtype=np.int32)
    judged = compared([rows_K, rows_K], [probs, probs])
    assert (judged.gain, judged.low, judged.high) == (0.0, 0.0, 0.0)


def test_a_missing_verdict_is_no_zero_and_no_proof() -> None:
    probs = random_probs(np.random.default_rng(2))[:10]
    missing = probs.copy()
    missing[3] = np.nan
    rows_K = np.arange(10, dtype=np.int32)
    judged = compared([rows_K, rows_K + 10], [probs, missing])
    assert judged.gain is None
    assert verdict(judged, GuardSettings(), False) == (False, "a verdict is missing")


@pytest.mark.parametrize(
    ("gain", "low", "strict", "passed"),
    [(0.2, 0.1, True, True), (0.2, -0.1, False, True), (0.2, -0.1, True, False), (-0.005, -0.2, False, True),
     (-0.02, -0.1, False, False), (-0.005, -0.006, True, True)],
)  # fmt: skip
def test_what_passes(gain: float, low: float, strict: bool, passed: bool) -> None:
    judged = Judged(original=0.5, rewrite=0.5 + gain, low=low, high=gain - low + gain)
    assert verdict(judged, GuardSettings(tolerance=0.01), strict)[0] is passed


def test_people_and_kept_queries_pass_without_a_verdict() -> None:
    settings = GuardSettings()
    override = TableEntry(rewritten("sofa", "couch", source="override"))
    assert decided(override, settings, True).why == "decided by a person"
    assert decided(TableEntry(rewritten("sofa", "")), settings, True).passed
    assert not decided(TableEntry(rewritten("sofa", "couch")), settings, False).passed


def test_rows_of_a_shop_are_searched_lists_with_their_grades() -> None:
    shop = tiny_shop()
    engine, judge = WordRetriever(shop), LabelsJudge(shop)
    queries = shop.all_queries[:3]
    texts = [query.text for query in queries]
    rewrites = ["", "sofa", "zebra"]
    rows = [rewritten(text, rewrite) for text, rewrite in zip(texts, rewrites, strict=True)]
    ids = shop.products["product_id"].to_pylist()
    original, changed = (search(engine, texts, ones, "replace", 1.0, 10) for ones in (texts, rewrites))
    entries = judge_rows(rows, queries, original, changed, ids, judge, GuardSettings())
    assert [entry.passed for entry in entries] == [True, True, False]
    assert entries[0].why == "searched as typed" and entries[0].judged.original is None
    assert entries[1].judged.original_ids == () and entries[1].judged.gain == entries[1].judged.rewrite == 1.0
    assert entries[2].judged.rewrite_ids == () and entries[2].judged.rewrite == 0.0
    assert "worse than the query as typed" in entries[2].why
    wanted = [ids[row] for row in original.rows_NK[2] if row >= 0]
    assert wanted and list(entries[2].judged.original_ids) == wanted


def test_a_moody_judge_is_asked_several_times() -> None:
    rows_NK, queries = np.array([[0, 1]], np.int32), [Query(-1, "", "sofa")]
    assert np.isnan(mean_probs(_after(Moody(), 2), queries, rows_NK, 1)).all()
    judge = Moody()
    probs_NK4 = mean_probs(judge, queries, rows_NK, 4)
    assert judge.calls == 4
    np.testing.assert_allclose(probs_NK4[0, 0], [2 / 3, 0, 0, 1 / 3], atol=1e-6)


def _after(judge: Moody, calls: int) -> Moody:
    judge.calls = calls
    return judge


def test_the_stored_verdict_decides_again_under_other_settings() -> None:
    entry = TableEntry(rewritten("sofa", "couch"), judged=Judged(original=0.5, rewrite=0.45, low=-0.1, high=0.0))
    assert not decided(entry, GuardSettings(0.01), False).passed
    assert decided(entry, GuardSettings(0.1), False).passed
    assert replace(decided(entry, GuardSettings(0.1), True), passed=True, why="") == replace(entry, why="")
