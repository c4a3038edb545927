"""The cross-encoder judge: verdicts, calibration, fingerprint, broken folders."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from judges.cross_encoder.judge import ONNX, CrossEncoderJudge, fit_cuts
from judges.simple.thresholds import Thresholds, level_probs
from judges.verdict_store.stored import ShopJudge
from qr_env.common.errors import ConfigError, JudgeError
from tests.helpers.cross_models import PAIRS, small_bert
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()


def test_a_score_depends_on_its_pair_alone(exported: Path) -> None:
    judge = CrossEncoderJudge(exported, "torch", batch_size=7)
    alone = np.array([CrossEncoderJudge(exported, "torch").score_pairs([pair])[0] for pair in PAIRS[::29]])
    np.testing.assert_allclose(judge.score_pairs(PAIRS)[::29], alone, atol=1e-5)


def test_blank_texts_are_missing_and_counted(exported: Path) -> None:
    judge = CrossEncoderJudge(exported)
    probs = judge.grade_pairs([("red sofa", "sofa"), (" ", "sofa"), ("sofa", "")])
    assert np.isnan(probs).all(axis=1).tolist() == [False, True, True]
    assert probs[0].sum() == pytest.approx(1, abs=1e-5)
    stats = judge.stats()
    assert (stats["asked"], stats["missing"], stats["missing/blank"]) == (3, 2, 2)
    assert stats["pairs_per_second"] > 0
    assert judge.grade_pairs([]).shape == (0, 4)


def test_grades_a_shop(exported: Path) -> None:
    judge = ShopJudge(SHOP, CrossEncoderJudge(exported))
    queries = SHOP.split("train")[:3]
    rows = np.array([[0, 1, -1], [2, 3, 4], [5, 5, 6]], np.int32)
    probs = judge.grade(queries, rows).probs_NK4
    assert np.isnan(probs[0, 2]).all() and (probs[2, 0] == probs[2, 1]).all()
    np.testing.assert_allclose(probs[rows >= 0].sum(axis=1), 1, atol=1e-5)


def test_cuts_recover_the_model_that_made_the_levels() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(40, 12, size=6_000)
    true = Thresholds(30, 38, 52, temperature=4)
    levels = (rng.random(6_000)[:, None] > level_probs(scores, true).cumsum(axis=1)[:, :3]).sum(axis=1)
    found = fit_cuts(scores, levels)
    assert [*found.cuts, found.temperature] == pytest.approx([30, 38, 52, 4], abs=1.0)
    gains = level_probs(np.linspace(-20, 90, 200), found)
    assert (np.diff(gains[:, 2:].sum(axis=1)) >= 0).all() and (np.diff(gains[:, 3]) >= 0).all(), (
        "a higher score never lowers a grade"
    )
    for scores_M, levels_M in (
        (np.zeros(0), np.zeros(0, int)),
        (np.zeros(2), np.array([0, 4])),
        (np.full(1, np.nan), [1]),
    ):
        with pytest.raises(JudgeError, match="levels 0 … 3"):
            fit_cuts(scores_M, np.asarray(levels_M))


def test_an_uncalibrated_cross_encoder_works_and_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    judge = CrossEncoderJudge.load(small_bert(tmp_path / "hub"))
    assert judge.backend == "torch" and not judge.calibrated
    with caplog.at_level(logging.WARNING):
        judge.grade_pairs(PAIRS[:4])
        judge.grade_pairs(PAIRS[:4])
    assert len([record for record in caplog.records if "unfitted" in record.message]) == 1
    before = judge.fingerprint
    levels = np.arange(len(PAIRS)) % 4
    assert judge.fit(PAIRS, levels, "made up").source == "made up"
    assert judge.calibrated and judge.fingerprint != before, "other cuts give other verdicts"
    judge.calibration.write(judge.folder)
    assert CrossEncoderJudge(judge.folder).fingerprint == judge.fingerprint


def test_broken_folders_are_refused(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(JudgeError, match=r"no config\.json"):
        CrossEncoderJudge(tmp_path)
    with pytest.raises(ConfigError, match="no backend 'tpu'"):
        CrossEncoderJudge(exported, "tpu")
    with pytest.raises(JudgeError, match="with 5 labels, not a cross-encoder with one logit"):
        CrossEncoderJudge(small_bert(tmp_path / "nli", labels=5))
    folder = small_bert(tmp_path / "bert")
    with pytest.raises(JudgeError, match=ONNX):
        CrossEncoderJudge(folder, "onnx").score_pairs(PAIRS[:1])
    (folder / "calibration.json").write_text('{"thresholds": {}}')
    with pytest.raises(JudgeError, match="damaged"):
        CrossEncoderJudge(folder)
