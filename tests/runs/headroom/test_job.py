"""`qr headroom` on a small shop with labels, and its parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents.suggestions.base import Suggestion
from agents.suggestions.rewriter import Evidence
from qr_env.common.errors import ConfigError
from runs.headroom import job
from runs.headroom.args import Args
from runs.headroom.job import METRICS, Scores, chosen, expected_gains, query_features, record
from tests.helpers.fakes import HashEncoder


def scores(main: list[float]) -> Scores:
    values_NF = np.full((len(main), len(METRICS)), np.nan)
    values_NF[:, 0] = main
    return Scores(values_NF)


def test_the_best_variant_of_each_query_is_chosen_above_the_threshold() -> None:
    variants = {"repair": scores([0.1, 0.2, 0.3]), "words": scores([0.9, 0.1, 0.5])}
    gains_NB = np.array([[0.0, 0.5], [0.0, 0.01], [0.0, np.nan]])
    assert chosen(variants, gains_NB).main_N.tolist() == [0.9, 0.1, 0.3]
    assert chosen(variants, gains_NB, 0.1).main_N.tolist() == [0.9, 0.2, 0.3]


def test_a_record_compares_with_identity_and_with_suggest() -> None:
    row = record(scores([0.5, 0.0, 1.0]), scores([0.4, 0.1, 1.0]), scores([0.5, 0.0, 0.7]))
    assert row.means == {"nDCG@10": pytest.approx(0.5)}
    assert row.worse == pytest.approx(1 / 3)
    assert row.over_suggest[0] == pytest.approx(0.1)
    assert row.over_suggest[1] <= row.over_suggest[0] <= row.over_suggest[2]


def test_a_selector_finds_a_gain_that_a_feature_tells() -> None:
    evidence = [Evidence(f"q{n}", (), (Suggestion("w", 0.5, "titles"),), full_matches=10 * (n % 2)) for n in range(400)]
    gain_N = np.array([0.3 if n % 2 == 0 else -0.3 for n in range(400)])
    variants = {"repair": scores([0.5] * 400), "words": scores((0.5 + gain_N).tolist())}
    expected_NB = expected_gains(evidence, variants)
    assert np.allclose(expected_NB[:, 0], 0)
    assert np.corrcoef(expected_NB[:, 1], gain_N)[0, 1] > 0.95
    assert len(query_features(evidence[0])) == len(query_features(evidence[1]))


def test_all_rows_of_a_graded_shop(shop_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "default_encoder", HashEncoder)
    out = tmp_path / "headroom.json"
    job.main(Args(str(shop_folder), judge=("labels",), steps=2, out=str(tmp_path / "policies"), json=str(out)))
    rows = json.loads(out.read_text())["rows"]
    assert list(rows) == [
        "identity", "repair", "suggest", "policy by labels, seed 0", "chosen by labels",
    ]  # fmt: skip
    assert (tmp_path / "policies" / "labels-0" / "word_policy.json").is_file()


def test_labels_must_be_of_the_same_products(shop_folder: Path) -> None:
    with pytest.raises(ConfigError, match="other products"):
        job.main(Args(str(shop_folder), labels="generated"))
