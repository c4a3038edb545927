"""What a student keeps of its teacher, and that the slower one is timed as slower."""

import math
import time
from dataclasses import dataclass, field

import pytest

from agents.baselines.classic import Identity, Oracle
from agents.supervised.retained import latency, retained
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
def exam():
    shop = tiny_shop()
    return HeldOutEvaluator(shop, WordRetriever(shop), split="train", combine="replace")


def test_share_of_the_teachers_gain_and_both_latencies(exam):
    teacher, student = Slow(99, 0.02), Slow(4, 0.002)
    report = retained(student, teacher, exam, batches=(1, 8))
    assert report.identity < report.student < report.teacher
    assert report.share == pytest.approx((report.student - report.identity) / (report.teacher - report.identity))
    assert 0 < report.share < 1
    assert report.low <= report.share <= report.high
    for batch in (1, 8):
        assert report.teacher_ms[batch] > report.student_ms[batch] >= 2 / batch
    assert 8 in teacher.asked


def test_all_is_kept_of_oneself_and_nothing_of_a_teacher_without_gain(exam):
    assert retained(Slow(99, 0), Slow(99, 0), exam, batches=()).share == pytest.approx(1.0)
    assert retained(Identity(), Slow(99, 0), exam, batches=()).share == pytest.approx(0.0)
    assert math.isnan(retained(Slow(99, 0), Identity(), exam, batches=()).share)


def test_agents_are_timed_in_turn_on_the_same_queries():
    turns = []

    class Noting:
        def __init__(self, name):
            self.name = name

        def rewrite(self, queries, n=1, seed=0):
            turns.append((self.name, tuple(queries)))
            return [[""] for _ in queries]

    latency([Noting("a"), Noting("b")], ["x", "y", "z"], 2, repeats=2)
    assert turns == [(name, part) for part in (("x", "y"), ("z", "x"), ("y", "z")) for name in "ab"]
