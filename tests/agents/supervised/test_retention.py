"""The share of the teacher's gain that a student keeps, and latencies."""

import math
import time
from dataclasses import dataclass, field

import pytest

from agents.baselines.classic import Identity, Oracle
from agents.supervised.retention import latency, measure_retention
from qr_env.evaluation.evaluator import HeldOutEvaluator
from tests.helpers.fakes import WordRetriever, tiny_shop


@dataclass
class Slow:
    """The first queries' oracle rewrites, after a pause."""

    known: int
    pause: float
    name: str = "slow"
    asked: list = field(default_factory=list)

    def rewrite(self, queries, n=1, seed=0):
        self.asked.append(len(queries))
        time.sleep(self.pause)
        best = Oracle(tiny_shop()).rewrite(queries)
        return [best[i] if i < self.known else [query] for i, query in enumerate(queries)]


@pytest.fixture(scope="module")
def evaluator():
    shop = tiny_shop()
    return HeldOutEvaluator(shop, WordRetriever(shop), split="train", combine="replace")


def test_share_of_the_teachers_gain_and_both_latencies(evaluator):
    teacher, student = Slow(99, 0.02), Slow(4, 0.002)
    report = measure_retention(student, teacher, evaluator, batch_sizes=(1, 8))
    assert report.identity < report.student < report.teacher
    assert report.share == pytest.approx((report.student - report.identity) / (report.teacher - report.identity))
    assert 0 < report.share < 1
    assert report.low <= report.share <= report.high
    for batch in (1, 8):
        assert report.teacher_ms[batch] > report.student_ms[batch] >= 2 / batch
    assert 8 in teacher.asked


def test_share_is_one_for_the_teacher_zero_for_identity_nan_without_gain(evaluator):
    assert measure_retention(Slow(99, 0), Slow(99, 0), evaluator, batch_sizes=()).share == pytest.approx(1.0)
    assert measure_retention(Identity(), Slow(99, 0), evaluator, batch_sizes=()).share == pytest.approx(0.0)
    assert math.isnan(measure_retention(Slow(99, 0), Identity(), evaluator, batch_sizes=()).share)


def test_latency_alternates_agents_on_the_same_queries():
    turns = []

    class Recorder:
        def __init__(self, name):
            self.name = name

        def rewrite(self, queries, n=1, seed=0):
            turns.append((self.name, tuple(queries)))
            return [[""] for _ in queries]

    latency([Recorder("a"), Recorder("b")], ["x", "y", "z"], 2, repeats=2)
    assert turns == [(name, part) for part in (("x", "y"), ("z", "x"), ("y", "z")) for name in "ab"]
