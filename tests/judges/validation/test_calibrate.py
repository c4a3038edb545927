"""The report on a judge: perfect, biased and incomplete judges, order bias, calibrators on held-out queries."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from judges.simple.labels import LabelsJudge
from judges.validation.agreement import METRICS
from judges.validation.calibrate import calibrate, calibrator_report
from judges.validation.calibrators import Temperature
from judges.validation.samples import Sample, group_by_query
from judges.verdict_store.store import VerdictStore
from judges.verdict_store.stored import ShopJudge
from qr_env.common.types import FloatArray, Grades, Query, RowArray
from qr_env.shop.shop import Shop
from tests.helpers.fakes import FailingJudge, tiny_shop, words

SHOP = tiny_shop()


def noisy(pairs: int = 600, queries: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(levels, probs, query numbers) of a judge that is right more often than not, ties included."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(4, size=pairs)
    logits = np.round(2 * np.eye(4)[levels] + rng.normal(size=(pairs, 4)), 1)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return levels, probs, rng.integers(queries, size=pairs)


def test_calibrators_are_reported_on_held_out_queries() -> None:
    levels, probs, query = noisy(2_000)
    report = calibrator_report(levels, Temperature(0.2)(probs), query, 40, seed=0)
    assert report["pairs fitted"] + report["pairs reported"] == 2_000
    assert report["temperature"]["figures"]["ece"]["value"] < report["as is"]["figures"]["ece"]["value"] / 2
    assert report["temperature"]["figures"]["kappa"] == report["as is"]["figures"]["kappa"]
    assert calibrator_report(levels, probs, np.zeros(2_000, int), 1, seed=0) == {}


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


def all_pairs() -> Sample:
    """All pairs of the tiny shop."""
    order = np.random.default_rng(0).permutation(12 * 30)
    return group_by_query(SHOP, order // 30, order % 30)


def test_the_report_of_a_perfect_judge() -> None:
    report = calibrate(LabelsJudge(SHOP), SHOP, all_pairs())
    figures = {name: figure["value"] for name, figure in report["figures"].items()}
    assert figures == pytest.approx({name: 0 if name in ("ece", "log loss") else 1 for name in METRICS}, abs=1e-6)
    assert np.trace(report["confusion"]) == np.sum(report["confusion"]) == report["pairs"] == 360
    assert report["missing"]["share"] == 0
    assert [report["order"][name]["value"] for name in ("bias", "shift", "flips")] == [0, 0, 0]
    assert np.isnan(report["words"]["bias"]["value"])  # in this shop, pairs of one query and level share as many words
    assert report["length"]["bias"]["value"] == pytest.approx(0, abs=1e-9)


def test_bias_and_missing_verdicts_are_reported() -> None:
    report = calibrate(BiasedJudge(), SHOP, all_pairs())
    assert report["order"]["bias"]["value"] > 0.02 and report["order"]["flips"]["value"] > 0.02
    assert report["missing"]["share"] == pytest.approx(sum(row % 7 == 0 for row in range(30)) / 30)
    assert report["figures"]["kappa"]["value"] < 1
    failing = calibrate(FailingJudge(), SHOP, all_pairs())
    assert failing["missing"]["share"] == 1 and failing["order"] is None and failing["calibrators"] == {}
    assert np.isnan(failing["figures"]["kappa"]["value"])


class WordJudge:
    """Exact with probability equal to the share of the query's words in the title."""

    name = "words"

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        share = [[self.share(query.text, row) for row in row_K] for query, row_K in zip(queries, rows_NK, strict=True)]
        share_NK = np.where(rows_NK >= 0, share, np.nan).astype(np.float32)
        return Grades(np.stack([1 - share_NK, 0 * share_NK, 0 * share_NK, share_NK], axis=-1))

    def share(self, query: str, row: int) -> float:
        return float(np.mean([word in words(SHOP.titles[row]) for word in query.split()]))


def test_a_bias_for_query_words_is_measured() -> None:
    levels = np.ones((1, 30), np.int8)  # of one query, all alike in truth; a third have "running shoes"
    query = Query(-1, "", "red running shoes")
    report = calibrate(WordJudge(), SHOP, Sample([query], np.arange(30, dtype=np.int32)[None], levels))
    assert report["words"]["bias"]["value"] == pytest.approx(1.0)
    assert report["words"]["gain"]["Complement"][-1][1] > report["words"]["gain"]["Complement"][0][1]


def test_order_bias_is_measured_without_the_store(tmp_path: Path) -> None:
    class First(HashJudge):
        def grade_pairs(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
            probs = super().grade_pairs(pairs)
            probs[np.arange(len(probs)) % 30 < 15] = [0, 0, 0, 1]
            return probs

    with VerdictStore(tmp_path) as store:
        judge = ShopJudge(SHOP, First(), store)
        reports = [calibrate(judge, SHOP, all_pairs()) for _ in range(2)]
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
