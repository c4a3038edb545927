"""Calibration of judges: figures against scikit-learn, biases that were put in come out, maps mend what is bent."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from judges.simple.labels import LabelsJudge
from judges.validation.agreement import (
    agreement,
    auc,
    calibration_error,
    kappa,
    reliability,
    resample_weights,
    slope_at_equal_level,
)
from judges.validation.calibrate import calibrate, calibrator_report
from judges.validation.calibrators import Isotonic, Temperature, fit_isotonic, fit_temperature
from judges.validation.samples import Sample, group_by_query, labelled_sample
from judges.verdict_store.store import VerdictStore
from judges.verdict_store.stored import ShopJudge
from qr_env.common.errors import JudgeError
from qr_env.common.types import FloatArray, Grades, Query, RowArray
from qr_env.shop.shop import Shop
from tests.helpers.fakes import FailingJudge, WordRetriever, tiny_shop, words

SHOP = tiny_shop()
ALL = ("train", "dev", "test")


def noisy(pairs: int = 600, queries: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(levels, probs, query numbers) of a judge that is right more often than not, ties included."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(4, size=pairs)
    logits = np.round(2 * np.eye(4)[levels] + rng.normal(size=(pairs, 4)), 1)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return levels, probs, rng.integers(queries, size=pairs)


def test_kappa_and_auc_are_scikit_learns() -> None:
    levels, probs, query = noisy()
    figures = agreement(levels, probs, query, resample_weights(40))
    verdicts = probs.argmax(axis=1)
    assert figures["kappa"].value == pytest.approx(cohen_kappa_score(levels, verdicts))
    assert figures["kappa quadratic"].value == pytest.approx(cohen_kappa_score(levels, verdicts, weights="quadratic"))
    gains = probs @ np.array([0, 0.01, 0.1, 1], np.float32)
    assert figures["auc"].value == pytest.approx(roc_auc_score(levels >= 2, gains))
    assert figures["accuracy"].value == pytest.approx((levels == verdicts).mean())
    for figure in figures.values():
        assert figure.low < figure.value < figure.high


def test_every_resample_of_the_auc_is_that_of_its_pairs() -> None:
    levels, probs, query = noisy(200, 12)
    scores, weights = np.round(probs[:, 3], 1), resample_weights(12, seed=3, resamples=5)
    for weight_Q, value in zip(weights, auc(scores, levels >= 2, query, weights), strict=True):
        drawn = np.repeat(np.arange(200), weight_Q[query].astype(int))
        assert value == pytest.approx(roc_auc_score(levels[drawn] >= 2, scores[drawn]))


def test_kappa_by_hand_and_where_chance_is_certain() -> None:
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[0, 3], matrix[3, 0], matrix[3, 3] = 20, 5, 10, 15  # the textbook case: 0.7 seen, 0.5 by chance
    assert kappa(matrix) == pytest.approx(0.4)
    assert kappa(matrix, quadratic=True) == pytest.approx(0.4)
    assert np.isnan(kappa(np.diag([9, 0, 0, 0])))


def test_intervals_resample_queries_not_pairs() -> None:
    levels, probs, query = noisy(800, 80)
    # The same pairs 50 times over in the same queries say no more than once.
    once = agreement(levels, probs, query, resample_weights(80))["kappa"]
    often = agreement(*(np.repeat(part, 50, axis=0) for part in (levels, probs, query)), resample_weights(80))["kappa"]
    assert (often.low, often.high) == (pytest.approx(once.low), pytest.approx(once.high))


def test_calibration_error_is_zero_for_an_honest_judge_and_the_gap_for_a_boastful_one() -> None:
    rng = np.random.default_rng(0)
    said = rng.choice([0.15, 0.55, 0.95], 60_000)
    true = rng.random(60_000) < said
    query, weights = np.zeros(60_000, int), resample_weights(1)
    assert calibration_error(said, true, query, weights)[0] < 0.01
    assert calibration_error(np.full(60_000, 0.99), true, query, weights)[0] == pytest.approx(0.99 - true.mean())
    assert [round(p, 2) for p, _, _ in reliability(said, true)] == [0.15, 0.55, 0.95]


def test_slope_sees_bias_and_not_the_truth() -> None:
    rng = np.random.default_rng(0)
    levels, query = rng.integers(4, size=5_000), rng.integers(50, size=5_000)
    length = levels + rng.normal(size=5_000)  # better products have longer texts
    fair = levels / 3 + 0.1 * rng.normal(size=5_000)
    weights = resample_weights(50)
    assert abs(slope_at_equal_level(length, fair, levels, query, weights)[0]) < 0.005
    assert slope_at_equal_level(length, fair + 0.2 * length, levels, query, weights)[0] == pytest.approx(0.2, abs=0.005)
    assert np.isnan(slope_at_equal_level(np.ones(5_000), fair, levels, query, weights)[0])


def test_temperature_is_found_again() -> None:
    levels, probs, _ = noisy(20_000)
    honest = fit_temperature(levels, probs).temperature
    loud = fit_temperature(levels, Temperature(1 / 3)(probs)).temperature
    assert loud == pytest.approx(3 * honest, rel=0.02)
    assert Temperature(2.0)(np.array([0.8, 0.2, 0, 0]))[:2] == pytest.approx([2 / 3, 1 / 3], abs=1e-3)


def test_isotonic_maps_are_probabilities_and_mend_a_judge_that_is_upside_up_only() -> None:
    levels, probs, query = noisy(4_000)
    bent = probs**3 * [50, 1, 1, 0.02]
    bent /= bent.sum(axis=1, keepdims=True)
    mended = fit_isotonic(levels, bent)(bent)
    assert (mended >= 0).all() and mended.sum(axis=1) == pytest.approx(np.ones(4_000))
    weights = resample_weights(40)
    before, after = (agreement(levels, p, query, weights) for p in (bent, mended))
    assert after["log loss"].value < before["log loss"].value - 0.1
    assert after["ece"].value < before["ece"].value / 2
    assert np.isnan(Isotonic(np.array([0.0, 3]), np.array([[0.0] * 3, [1.0] * 3]))(np.full((1, 4), np.nan))).all()


def test_maps_are_reported_on_queries_that_they_did_not_see() -> None:
    levels, probs, query = noisy(2_000)
    maps = calibrator_report(levels, Temperature(0.2)(probs), query, 40, seed=0)
    assert maps["pairs fitted"] + maps["pairs reported"] == 2_000
    assert maps["temperature"]["figures"]["ece"]["value"] < maps["as is"]["figures"]["ece"]["value"] / 2
    assert maps["temperature"]["figures"]["kappa"] == maps["as is"]["figures"]["kappa"]
    assert calibrator_report(levels, probs, np.zeros(2_000, int), 1, seed=0) == {}


def test_samples_are_graded_pairs_of_the_splits_only() -> None:
    sparse = Shop(SHOP.name, SHOP.products, SHOP.queries, SHOP.qrels, SHOP.purchases)
    sample = labelled_sample(sparse, ("dev",), pairs=25)
    assert {query.split for query in sample.queries} == {"dev"} and sample.pairs == 25
    np.testing.assert_array_equal(sample.levels_QK >= 0, sample.rows_QK >= 0)
    levels = SHOP.levels([query.row for query in sample.queries], sample.rows_QK)
    np.testing.assert_array_equal(levels, sample.levels_QK)
    again = labelled_sample(sparse, ("dev",), pairs=25)
    np.testing.assert_array_equal(sample.rows_QK, again.rows_QK)
    blind = Shop(SHOP.name, SHOP.products, SHOP.queries, SHOP.qrels * 0, SHOP.purchases)
    with pytest.raises(JudgeError, match="no labels for dev"):
        labelled_sample(blind, ("dev",))


@pytest.mark.parametrize("retriever", [None, WordRetriever(SHOP)])
def test_where_truth_is_whole_lists_are_found_and_random_products(retriever: WordRetriever | None) -> None:
    sample = labelled_sample(SHOP, ALL, pairs=60, retriever=retriever, k=3)
    assert len(sample.queries) == 10
    for rows_K in sample.rows_QK:
        rows = rows_K[rows_K >= 0].tolist()
        assert len(set(rows)) == len(rows) <= 6
    assert len(set(sample.levels_QK[sample.levels_QK >= 0].tolist())) > 1


class BiasedJudge:
    """Labels, but the first product of a list is always Exact, and every seventh verdict is missing."""

    name = "biased"

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        probs: FloatArray = LabelsJudge(SHOP).grade(queries, rows_NK).probs_NK4
        probs[:, 0] = [0, 0, 0, 1]
        probs[rows_NK % 7 == 0] = np.nan
        return Grades(probs)

    def stats(self) -> dict[str, float]:
        return {"missing/timeout": 3.0, "tokens": 500.0}


def everything() -> Sample:
    """All pairs of the tiny shop."""
    order = np.random.default_rng(0).permutation(12 * 30)
    return group_by_query(SHOP, order // 30, order % 30)


def test_the_whole_report_of_a_perfect_judge() -> None:
    report = calibrate(LabelsJudge(SHOP), SHOP, everything())
    figures = {name: figure["value"] for name, figure in report["figures"].items()}
    assert figures == pytest.approx(
        {"kappa": 1, "kappa quadratic": 1, "accuracy": 1, "auc": 1, "ece": 0, "log loss": 0}, abs=1e-6
    )
    assert np.trace(report["confusion"]) == np.sum(report["confusion"]) == report["pairs"] == 360
    assert report["missing"]["share"] == 0
    assert [report["order"][name]["value"] for name in ("bias", "shift", "flips")] == [0, 0, 0]
    assert np.isnan(report["words"]["bias"]["value"])  # in this shop, pairs of one query and level share as many words
    assert report["length"]["bias"]["value"] == pytest.approx(0, abs=1e-9)


def test_bias_and_missing_verdicts_are_reported() -> None:
    report = calibrate(BiasedJudge(), SHOP, everything())
    assert report["order"]["bias"]["value"] > 0.02 and report["order"]["flips"]["value"] > 0.02
    assert report["missing"]["share"] == pytest.approx(sum(row % 7 == 0 for row in range(30)) / 30)
    assert report["figures"]["kappa"]["value"] < 1
    silent = calibrate(FailingJudge(), SHOP, everything())
    assert silent["missing"]["share"] == 1 and silent["order"] is None and silent["calibrators"] == {}
    assert np.isnan(silent["figures"]["kappa"]["value"])


class WordJudge:
    """Exact with the probability that the share of the query's words in the title is."""

    name = "words"

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        share = [[self.share(query.text, row) for row in row_K] for query, row_K in zip(queries, rows_NK, strict=True)]
        share_NK = np.where(rows_NK >= 0, share, np.nan).astype(np.float32)
        return Grades(np.stack([1 - share_NK, 0 * share_NK, 0 * share_NK, share_NK], axis=-1))

    def share(self, query: str, row: int) -> float:
        return float(np.mean([word in words(SHOP.titles[row]) for word in query.split()]))


def test_a_judge_that_reads_words_is_seen_to() -> None:
    levels = np.ones((1, 30), np.int8)  # of one query, all alike in truth; a third have "running shoes"
    query = Query(-1, "", "red running shoes")
    report = calibrate(WordJudge(), SHOP, Sample([query], np.arange(30, dtype=np.int32)[None], levels))
    assert report["words"]["bias"]["value"] == pytest.approx(1.0)
    assert report["words"]["gain"]["Complement"][-1][1] > report["words"]["gain"]["Complement"][0][1]


def test_a_store_does_not_hide_the_order_of_a_judge_of_texts(tmp_path: Path) -> None:
    class First(HashJudge):
        def grade_pairs(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
            probs = super().grade_pairs(pairs)
            probs[np.arange(len(probs)) % 30 < 15] = [0, 0, 0, 1]
            return probs

    with VerdictStore(tmp_path) as store:
        judge = ShopJudge(SHOP, First(), store)
        reports = [calibrate(judge, SHOP, everything()) for _ in range(2)]
    first, second = (report["speed"]["share from store"] for report in reports)
    assert first < 0.01 and second == 1
    assert reports[1]["order"]["bias"]["low"] > 0.1


class HashJudge:
    """A judge of texts: soft verdicts from a hash of them."""

    name = fingerprint = "hash"

    def product_texts(self, shop: Shop) -> list[str]:
        return shop.titles

    def grade_pairs(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        raw = np.array([[zlib.crc32(f"{pair}{level}".encode()) % 97 + 1 for level in range(4)] for pair in pairs])
        return (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)

    def stats(self) -> dict[str, float]:
        return {}
