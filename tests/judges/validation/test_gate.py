"""The gate: good judges pass, bad ones are refused or get less weight, unchecked ones need min_kappa 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from judges.simple.labels import LabelsJudge
from judges.validation.gate import MIN_PAIRS, Gate
from qr_env.common.errors import ConfigError, DataError, JudgeError
from qr_env.common.types import Grades, Query, RowArray
from qr_env.synthetic.queries import GENERATED
from tests.helpers.fakes import FailingJudge, tiny_shop

SHOP = tiny_shop()
PARTIAL = replace(SHOP, qrels_complete=False)
TEST_ONLY = replace(PARTIAL, queries=SHOP.queries.set_column(3, "split", [["test"] * 12]))


class NoisyJudge:
    """Labels of which a share is replaced by random levels; records the queries that it graded."""

    name = "noisy"

    def __init__(self, noise: float) -> None:
        self.noise, self.asked = noise, list[Query]()

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        self.asked += queries
        rng = np.random.default_rng(0)
        probs = LabelsJudge(SHOP).grade(queries, rows_NK).probs_NK4
        random_levels = np.eye(4, dtype=np.float32)[rng.integers(4, size=rows_NK.shape)]
        return Grades(np.where((rng.random(rows_NK.shape) < self.noise)[..., None], random_levels, probs))


def test_a_judge_that_agrees_passes_with_full_weight() -> None:
    result = Gate(min_kappa=0.5).check(LabelsJudge(SHOP), SHOP)
    assert result.passed and result.weight == 1 and result.kappa == pytest.approx(1)
    metrics = {"judge/kappa": 1, "judge/kappa_low": 1, "judge/weight": 1, "judge/pair_accuracy": 1}
    assert result.metrics() == pytest.approx(metrics)
    assert Gate(min_kappa=0.5).enforce(result) is result


def test_a_judge_that_guesses_is_refused_with_its_kappa() -> None:
    gate = Gate(min_kappa=0.5)
    result = gate.check(NoisyJudge(0.8), PARTIAL)
    assert not result.passed and result.low < result.kappa < result.high < 0.5
    with pytest.raises(JudgeError, match=r"noisy: κ 0\.\d+ .* below min_kappa 0\.5"):
        gate.enforce(result)


def test_a_judge_below_min_kappa_gets_a_proportional_weight() -> None:
    gate = Gate(min_kappa=0.8, on_fail="downweight")
    result = gate.check(NoisyJudge(0.5), PARTIAL)
    assert result.weight == pytest.approx(result.kappa / 0.8) and 0 < result.weight < 1
    assert gate.enforce(result) is result
    assert replace(gate, min_kappa=0.1).check(NoisyJudge(0.5), PARTIAL).weight == 1


def test_test_queries_are_never_used(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("query,product_id,level\n" + "running shoes,p20,3\n" + "sofa,p00,E\n" * 2)
    shown = (SHOP.all_queries, np.tile(np.arange(30, dtype=np.int32), (12, 1)))
    for gate, judge in ((Gate(), NoisyJudge(0)), (Gate(labels=tmp_path / "mine.csv"), NoisyJudge(0))):
        gate.check(judge, SHOP)
        gate.check(judge, PARTIAL)
        gate.check(judge, SHOP, shown)
        assert judge.asked and "running shoes" not in {query.text for query in judge.asked}
        assert {query.split for query in judge.asked} <= {"train", "dev"}


def test_grades_of_made_up_queries_are_no_human_grades() -> None:
    made_up = replace(PARTIAL, slices={GENERATED: np.ones(len(SHOP.queries), bool)})
    gate, judge = Gate(min_kappa=0.5), NoisyJudge(0.0)
    assert not gate.check(judge, made_up).known
    everything = np.tile(np.arange(len(SHOP.products), dtype=np.int32), (len(SHOP.queries), 1))
    assert gate.check(judge, made_up, (SHOP.all_queries, everything)).pairs == 0
    assert gate.check(judge, PARTIAL, (SHOP.all_queries, everything)).pairs > 0


def test_unknown_agreement_needs_min_kappa_zero() -> None:
    gate = Gate(min_kappa=0.2, on_fail="downweight")
    for judge, shop in ((LabelsJudge(TEST_ONLY), TEST_ONLY), (FailingJudge(), SHOP)):
        result = gate.check(judge, shop)
        assert not result.known and result.weight == 0
        with pytest.raises(JudgeError, match="min_kappa 0"):
            gate.enforce(result)
        assert Gate(min_kappa=0).enforce(Gate(min_kappa=0).check(judge, shop)).weight == 1


def test_during_training_it_uses_the_current_lists() -> None:
    gate = Gate(min_kappa=0.3, pairs=60)
    queries = [query for query in SHOP.all_queries if query.split == "train"]
    shown = np.tile(np.array([0, 11, 12, 25, 25, 3, -1], np.int32), (len(queries), 1))
    judge = NoisyJudge(0)
    result = gate.check(judge, SHOP, shown=(queries, shown))
    assert result.pairs == 5 * 7 > MIN_PAIRS and {query.text for query in judge.asked} <= {
        query.text for query in queries
    }
    assert replace(gate, pairs=31).check(judge, SHOP, shown=(queries, shown)).pairs == 31


def test_graded_pairs_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    levels = [("Exact", 3), ("irrelevant", 0), ("C", 1), ("2", 2)]
    lines = [
        f'{{"query": "{q}", "product_id": "p{row:02d}", "level": "{name}"}}\n'
        for q in ("divan", "tv")
        for row in range(20)
        for name, _ in [levels[row % 4]]
    ]
    path.write_text("".join(lines))

    class LevelByRow:
        name = "level by row"

        def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
            return Grades(np.eye(4, dtype=np.float32)[np.array([level for _, level in levels])[rows_NK % 4]])

    gate, shown = Gate(min_kappa=0.9, labels=path), (SHOP.all_queries, np.zeros((12, 5), np.int32))
    for result in (gate.check(LevelByRow(), TEST_ONLY), gate.check(LevelByRow(), SHOP, shown)):
        assert result.pairs == 40 and result.kappa == pytest.approx(1)
    for text, message in (
        ("query,product_id\na,p00\n", "no column for 'grade'"),
        ("query,product_id,level\na,p00,great\n", "'great' is none of 0–3"),
        ("query,product_id,level\na,x,E\n", "none of its products"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            Gate(labels=tmp_path / "bad.csv").check(LevelByRow(), SHOP)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"min_kappa=1\.5"):
        Gate(min_kappa=1.5)
    with pytest.raises(ConfigError, match="'ignore'"):
        Gate(on_fail="ignore")  # type: ignore[arg-type]


def test_pair_accuracy_refuses_or_downweights_too() -> None:
    judge = NoisyJudge(0.5)
    gate = Gate(min_pair_accuracy=0.95)
    result = gate.check(judge, SHOP)
    assert 0.5 < result.pair_accuracy < 0.95 and not result.passed and not gate.is_open
    with pytest.raises(JudgeError, match=r"pair accuracy 0\.\d+.*min_pair_accuracy 0\.95"):
        gate.enforce(result)
    assert result.weight == pytest.approx((result.pair_accuracy - 0.5) / 0.45)
    both = Gate(min_kappa=0.99, min_pair_accuracy=0.95, on_fail="downweight").check(judge, SHOP)
    assert both.weight == pytest.approx(result.weight * both.kappa / 0.99)
    assert Gate(min_pair_accuracy=0.95).check(LabelsJudge(SHOP), SHOP).passed
    for chance in (0.4, 0.5, 1.2):
        with pytest.raises(ConfigError, match="min_pair_accuracy"):
            Gate(min_pair_accuracy=chance)
