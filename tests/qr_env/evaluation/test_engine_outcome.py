"""The outcome of an engine check: intervals, names and the sentence that says what to do."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qr_env.evaluation.engine_outcome import Candidate, Difference, EngineCheck
from qr_env.retrieval.bm25 import BM25Settings
from qr_env.retrieval.factory import checked_retriever

BASELINE = BM25Settings(fields=(("title", 5), ("brand", 1)))
DESCRIBED = replace(BASELINE, fields=(("title", 10), ("description", 1)), b=0.4)


def candidate(settings: BM25Settings, judged: float, is_hybrid: bool = False) -> Candidate:
    return Candidate(settings, is_hybrid, judged, Difference(0.0, 0.0, 0.0), {})


def outcome(gain: Difference, best: BM25Settings = DESCRIBED) -> EngineCheck:
    baseline, chosen = candidate(BASELINE, 0.5), candidate(best, 0.6)
    return EngineCheck("fields", 1_200, baseline, chosen, gain, (chosen, baseline), {}, {})


def test_a_difference_leaves_out_queries_without_a_figure() -> None:
    difference = Difference.of(np.array([0.2, np.nan, 0.4]), seed=0)
    assert difference.value == pytest.approx(0.3)
    assert 0.2 <= difference.low <= difference.value <= difference.high <= 0.4
    assert math.isnan(Difference.of(np.array([np.nan]), seed=0).value)


def test_a_clear_choice_names_every_change_and_the_retriever() -> None:
    check = outcome(Difference(0.05, 0.01, 0.09))
    assert check.is_clear and check.served is check.best
    assert check.sentence() == (
        "index the description, leave out the brand, title weight 10, b 0.4: +0.050 [+0.010, +0.090] nDCG@10 by judge "
        f"'fields', 1,200 queries; qr online SHOP --retriever {check.best.spec}"
    )
    checked_retriever(check.best.spec)
    assert check.to_json()["is clear"] is True


@pytest.mark.parametrize("gain", [Difference(0.05, -0.01, 0.09), Difference(-0.02, -0.03, -0.01)])
def test_an_unclear_choice_keeps_the_engine_in_use(gain: Difference) -> None:
    check = outcome(gain)
    assert check.served is check.baseline
    assert check.sentence().startswith(f"keep {check.baseline.spec}: no setting is clearly better")


def test_a_fused_engine_says_so_in_its_name() -> None:
    assert candidate(BASELINE, 0.5, is_hybrid=True).spec.startswith("hybrid:bm25:")
