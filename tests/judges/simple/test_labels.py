"""The label judge: one-hot truth, missing for pairs without a label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from judges.factory import JudgeOptions, open_judge
from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT, IRRELEVANT, SUBSTITUTE, Query
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()
ROWS = np.array([[0, 1, 10, -1], [10, 0, -1, -1]], np.int32)


def test_verdicts_are_one_hot_and_padding_is_missing() -> None:
    grades = LabelsJudge(SHOP).grade([SHOP.all_queries[2], SHOP.all_queries[3]], ROWS)
    assert grades.probs_NK4.shape == (2, 4, 4) and grades.probs_NK4.dtype == np.float32
    assert grades.probs_NK4[0, :3].argmax(axis=1).tolist() == [EXACT, SUBSTITUTE, 1]
    assert grades.probs_NK4[1, :2].argmax(axis=1).tolist() == [EXACT, IRRELEVANT]
    np.testing.assert_array_equal(np.isnan(grades.gain_NK), ROWS < 0)
    assert grades.gain_NK[0, :3] == pytest.approx([1.0, 0.1, 0.01])


def test_ungraded_pairs_and_unknown_queries_are_missing_never_zero() -> None:
    sparse = SHOP.qrels.copy()
    sparse[2, 1] = 0
    sparse.eliminate_zeros()
    judge = LabelsJudge(replace(SHOP, qrels=sparse, qrels_complete=False))
    grades = judge.grade([SHOP.all_queries[2], Query(-1, "", "red sofa")], ROWS)
    assert np.isnan(grades.gain_NK[0]).tolist() == [False, True, False, True]
    assert np.isnan(grades.gain_NK[1]).all()


def test_with_a_split_only_its_queries_are_graded() -> None:
    judge = open_judge("labels", SHOP, JudgeOptions(split="train"))
    grades = judge.grade([SHOP.all_queries[0], SHOP.all_queries[9]], ROWS[:, :1])
    assert np.isnan(grades.gain_NK[:, 0]).tolist() == [False, True]
    with pytest.raises(ConfigError, match="'holdout'"):
        LabelsJudge(SHOP, "holdout")


def test_empty_batches() -> None:
    assert LabelsJudge(SHOP).grade([], np.zeros((0, 5), np.int32)).probs_NK4.shape == (0, 5, 4)
    assert LabelsJudge(SHOP).grade(SHOP.all_queries[:2], np.zeros((2, 0), np.int32)).probs_NK4.shape == (2, 0, 4)


def test_unknown_judges_are_refused() -> None:
    with pytest.raises(ConfigError, match="'oracle'"):
        open_judge("oracle", SHOP)
