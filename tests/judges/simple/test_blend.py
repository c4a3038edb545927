"""The blend judge: a weighted mean of standardised scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from judges.simple.blend import FULL_DOUBT, BlendJudge, LevelScore
from judges.simple.coverage import CoverageJudge
from judges.simple.embedding import EmbeddingJudge
from judges.simple.ensemble import EnsembleJudge
from judges.simple.labels import LabelsJudge
from judges.simple.reference_pairs import ReferencePairs
from judges.validation.probes import ProbeSet
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.types import EXACT, IRRELEVANT, FloatArray, Query, RowArray
from qr_env.shop.shop import Shop
from tests.helpers.fakes import FailingJudge, HashEncoder, WordRetriever, tiny_shop

SHOP = tiny_shop()
REFERENCE = ReferencePairs.draw(SHOP, WordRetriever(SHOP))
ALL_ROWS = np.tile(np.arange(30, dtype=np.int32), (len(SHOP.all_queries), 1))


def make_blend(weights: Sequence[float] = (1.0, 1.0)) -> BlendJudge:
    """Similarity and coverage of the toy shop."""
    return BlendJudge.calibrated([EmbeddingJudge(SHOP, HashEncoder()), CoverageJudge(SHOP)], weights, REFERENCE)


def test_the_score_is_the_weighted_mean_of_standardised_scores_less_what_does_not_fit() -> None:
    blend, probes = make_blend((1.0, 3.0)), ProbeSet.from_shop(SHOP, n=12, seed=0, split="all")
    moved, asked = blend.for_shop(probes.shop), (probes.shop.all_queries, probes.rows_NK)
    similarity, coverage = (member.judge for member in moved.members)
    assert isinstance(coverage, CoverageJudge)
    fitting, unfitting = coverage.coverage_and_unfitting(*asked)
    parts = []
    for member, scores in zip(blend.members, (similarity.score(*asked), fitting + unfitting), strict=True):
        reference = member.judge.score(REFERENCE.queries, REFERENCE.rows_PK)
        parts.append((scores - np.nanmean(reference)) / np.nanstd(reference))
    mean = (parts[0] + 3 * parts[1]) / 4
    expected = mean - np.minimum(unfitting / FULL_DOUBT, 1) ** 3 * np.maximum(mean - blend.floor, 0)
    np.testing.assert_allclose(moved.score(*asked), expected, atol=1e-4)
    assert unfitting.max() > 0.5, "some probes hold words that do not fit"


def test_a_stuffed_title_gains_little() -> None:
    shoes = "Velo running shoes black men size 42"
    products = pa.table({"product_id": ["0", "1"], "title": [shoes, f"{shoes} sofa"]})
    stuffed = Shop("stuffed", products, SHOP.queries, SHOP.qrels[:, :2], SHOP.purchases[:0])
    rows = np.array([[0, 1]], np.int32)
    guarded, unguarded = make_blend().for_shop(stuffed), make_blend().for_shop(stuffed)
    unguarded.floor = float("inf")
    (plain, gain), (_, free) = (one.grade([Query(-1, "", "sofa")], rows).gain_NK[0] for one in (guarded, unguarded))
    assert gain - plain < 0.1 * (free - plain)


def test_relevant_products_get_the_greater_gain() -> None:
    gains = make_blend().grade(SHOP.all_queries, ALL_ROWS).gain_NK
    levels = SHOP.levels(np.arange(len(ALL_ROWS)), ALL_ROWS)
    assert gains[levels == EXACT].mean() > gains[levels == IRRELEVANT].mean() + 0.3


def test_a_member_without_a_verdict_is_left_out() -> None:
    class NoScore(FailingJudge):
        def score(self, queries: Sequence[Query], rows_NK: RowArray) -> FloatArray:
            return np.full(rows_NK.shape, np.nan, np.float32)

    coverage = CoverageJudge(SHOP)
    blend = BlendJudge.calibrated([NoScore(), coverage], [5.0, 1.0], REFERENCE)
    np.testing.assert_array_equal(
        blend.score(SHOP.all_queries, ALL_ROWS),
        BlendJudge.calibrated([coverage, coverage], [1.0, 1.0], REFERENCE).score(SHOP.all_queries, ALL_ROWS),
    )
    padded = blend.grade(SHOP.all_queries[:1], np.array([[3, -1]], np.int32)).gain_NK
    np.testing.assert_array_equal(np.isnan(padded), [[False, True]])


def test_any_judge_joins_by_its_expected_level() -> None:
    labels = LevelScore(EnsembleJudge([LabelsJudge(SHOP), LabelsJudge(SHOP)]))
    levels = SHOP.levels(np.arange(len(ALL_ROWS)), ALL_ROWS)
    np.testing.assert_array_equal(labels.score(SHOP.all_queries, ALL_ROWS), levels)
    blend = BlendJudge.calibrated([CoverageJudge(SHOP), labels], [1.0, 9.0], REFERENCE)
    gains = blend.grade(SHOP.all_queries, ALL_ROWS).gain_NK
    assert gains[levels == EXACT].min() > gains[levels == IRRELEVANT].max()
    assert "ensemble:labels,labels/ensemble/pairs" in blend.stats()


def test_a_fit_to_purchases_moves_the_thresholds_only() -> None:
    blend = make_blend()
    before, scores = blend.thresholds, blend.score(SHOP.all_queries, ALL_ROWS)
    fitted = blend.fit(SHOP, *EmbeddingJudge(SHOP, HashEncoder()).purchase_pairs())
    assert fitted == blend.thresholds != before
    np.testing.assert_array_equal(blend.score(SHOP.all_queries, ALL_ROWS), scores)


def test_another_shop_is_graded_on_the_same_scale() -> None:
    blend, part = make_blend(), replace(SHOP, products=SHOP.products[:5], qrels=SHOP.qrels[:, :5])
    moved = blend.for_shop(part)
    assert (moved.thresholds, moved.floor) == (blend.thresholds, blend.floor)
    gains = [judge.grade(SHOP.all_queries, ALL_ROWS[:, :5]).gain_NK for judge in (moved, blend)]
    np.testing.assert_allclose(*gains, atol=0.1)  # a title of the catalogue is no evidence for itself


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, float("inf"))])
def test_impossible_weights_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="each weight above 0"):
        make_blend(weights)


def test_a_shop_without_queries_is_refused() -> None:
    silent = replace(SHOP, queries=SHOP.queries[:0], qrels=SHOP.qrels[:0], slices={})
    with pytest.raises(JudgeError, match="calibrated on the shop's queries"):
        ReferencePairs.draw(silent, WordRetriever(silent))
