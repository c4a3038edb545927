"""The degraded judge: as good as it is told to be, the same verdict on a pair every time, errors of a real judge."""

import numpy as np
import pytest

from judges.factory import open_judge
from judges.simple.degraded import (
    DegradedJudge,
    DegradedOptions,
    confusion_probabilities,
    degrade,
    sample_kappa,
    title_scores,
)
from judges.validation.agreement import kappa
from judges.validation.samples import Sample
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.types import EXACT, SUBSTITUTE, Query
from tests.helpers.fakes import WordRetriever, tiny_shop

SHOP = tiny_shop()
EVERY_ROW = np.tile(np.arange(30, dtype=np.int32), (12, 1))
ALL_PAIRS = Sample(SHOP.all_queries, EVERY_ROW, SHOP.levels(range(12), EVERY_ROW))


def judge_of(value, **options):
    return DegradedJudge.calibrated(SHOP, DegradedOptions(value, **options), ALL_PAIRS)


def measured(judge, sample=ALL_PAIRS):
    verdicts = judge.grade(sample.queries, sample.rows_PK).probs_NK4.argmax(axis=-1)
    known = sample.levels_PK >= 0
    return sample_kappa(sample.levels_PK[known], verdicts[known])


@pytest.mark.parametrize("value", [0.2, 0.4, 0.6, 1.0])
@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_kappa_is_the_one_that_was_asked_for(value, bias):
    assert measured(judge_of(value, bias=bias)) == pytest.approx(value, abs=0.02)


def test_kappa_of_one_is_the_truth():
    truth = open_judge("labels", SHOP).grade(SHOP.all_queries, EVERY_ROW).probs_NK4
    np.testing.assert_array_equal(judge_of(1.0).grade(SHOP.all_queries, EVERY_ROW).probs_NK4, truth)


def test_a_verdict_depends_on_query_text_product_and_seed_alone():
    judge = judge_of(0.4)
    together = judge.grade(SHOP.all_queries, EVERY_ROW).probs_NK4
    order = np.random.default_rng(0).permutation(30)
    alone = judge.grade(SHOP.all_queries[3:4], EVERY_ROW[:1, order]).probs_NK4
    np.testing.assert_array_equal(alone[0], together[3, order])
    np.testing.assert_array_equal(judge_of(0.4).grade(SHOP.all_queries, EVERY_ROW).probs_NK4, together)
    other = DegradedJudge(SHOP, DegradedOptions(0.4, seed=1), judge.strength).grade(SHOP.all_queries, EVERY_ROW)
    assert 0.2 < (other.probs_NK4.argmax(-1) != together.argmax(-1)).mean() < 0.9


def test_pairs_without_truth_and_padding_are_missing():
    judge = judge_of(0.4)
    probs = judge.grade(
        [SHOP.all_queries[0], Query(-1, "", "unknown")], np.array([[0, -1], [0, 1]], np.int32)
    ).probs_NK4
    assert np.isnan(probs[..., 0]).tolist() == [[False, True], [True, True]]
    assert probs[0, 0].sum() == 1
    assert judge.grade([], np.zeros((0, 5), np.int32)).probs_NK4.shape == (0, 5, 4)


def test_confusions_are_those_of_a_generous_judge_and_kappa_falls_with_their_strength():
    probabilities = confusion_probabilities(1.0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert probabilities[SUBSTITUTE, EXACT] > 2 * probabilities[EXACT, SUBSTITUTE]  # generous
    assert probabilities[EXACT, SUBSTITUTE] > probabilities[EXACT, 0]  # near levels are confused more
    shares = np.array([0.44, 0.01, 0.18, 0.37])
    expected = [kappa(shares[:, None] * confusion_probabilities(strength)) for strength in (0, 0.5, 1, 2, 4, 20)]
    assert expected[0] == pytest.approx(1) and expected[-1] == pytest.approx(0, abs=0.001)
    assert (np.diff(expected) < 0).all()


def test_verdicts_have_the_probabilities_of_their_row():
    quantile = (np.arange(100_000) + 0.5) / 100_000
    for level in range(4):
        verdicts = degrade(np.full(len(quantile), level), quantile, 0.8)
        shares = np.bincount(verdicts, minlength=4) / len(verdicts)
        np.testing.assert_allclose(shares, confusion_probabilities(0.8)[level], atol=1e-4)


def test_with_bias_the_judge_likes_a_title_for_all_queries():
    liking = title_scores(SHOP.titles, SHOP.tokenizer, seed=0)
    assert liking.mean() == pytest.approx(0) and liking.std() == pytest.approx(1)
    correlation = {}
    for bias in (0.0, 0.9):
        overrated = (
            judge_of(0.3, bias=bias).grade(SHOP.all_queries, EVERY_ROW).probs_NK4.argmax(-1) - ALL_PAIRS.levels_PK
        )
        correlation[bias] = np.corrcoef(overrated.mean(axis=0), liking)[0, 1]
    assert correlation[0.9] > 0.6 > correlation[0.0] + 0.2


def test_a_shop_without_truth_and_impossible_options_are_refused():
    unknown = Sample([Query(-1, "", "sofa")], EVERY_ROW[:1], np.full((1, 30), -1, np.int8))
    with pytest.raises(JudgeError, match="true grades for 0 of the pairs"):
        DegradedJudge.calibrated(SHOP, DegradedOptions(0.4), unknown)
    for argument in ("", "half", "0", "1.5", "0.4:0:2", "0.4:0:0.5:1"):
        with pytest.raises(ConfigError, match=r"degraded"):
            DegradedOptions.parse(argument)
    assert DegradedOptions.parse("0.4:3:0.25", seed=1) == DegradedOptions(0.4, 3, 0.25)
    assert DegradedOptions.parse("0.4", seed=1) == DegradedOptions(0.4, 1)


def test_it_grades_another_shop_and_opens_by_name(own_cache, monkeypatch):
    monkeypatch.setattr("judges.factory.make_retriever", lambda kind, shop, cache: WordRetriever(shop))
    monkeypatch.setattr("judges.simple.degraded.MIN_PAIRS", 10)
    judge = open_judge("degraded:0.5:2", SHOP)
    assert (judge.name, judge.options) == ("degraded", DegradedOptions(0.5, seed=2))
    verdicts = judge.for_shop(tiny_shop()).grade(SHOP.all_queries, EVERY_ROW).probs_NK4
    np.testing.assert_array_equal(verdicts, judge.grade(SHOP.all_queries, EVERY_ROW).probs_NK4)
