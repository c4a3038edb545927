"""The rule that chooses what to serve, on figures whose answer is known; its inputs, on made evaluations."""

from types import SimpleNamespace

import numpy as np
import pytest

from runs.common.serving_choice import CandidateFigures, PairedComparison
from runs.online.verdict import Candidate, choose, distinct, grade_candidates

NAMES = ["identity", "spell", "repair", "suggest", "warm start", "online"]
N = 400


def figures(**worse):
    """Candidates of these names, each with the share of queries that it makes worse."""
    shares = {"identity": 0.0} | {name.replace("_", " "): share for name, share in worse.items()}
    return [CandidateFigures(name, name, 0.5, 0.0, 0.0, 0.0, 0.1, share, 0.5) for name, share in shares.items()]


def pair(better, worse, p=0.001):
    order = sorted((better, worse), key=NAMES.index, reverse=True)
    sign = 1 if order[0] == better else -1
    return PairedComparison(order[0], order[1], sign * 0.1, sign * 0.05, sign * 0.15, p)


SPELL_SUGGEST = {"spell": 0.01, "suggest": 0.05}
ALL = SPELL_SUGGEST | {"online": 0.05}
RULES = {
    "nothing is proven better": (ALL, [pair("online", "identity", 0.06)], "identity"),
    "the simplest of equals": (SPELL_SUGGEST, [pair("spell", "identity"), pair("suggest", "identity")], "spell"),
    "the better of two": (
        SPELL_SUGGEST,
        [pair("spell", "identity"), pair("suggest", "identity"), pair("suggest", "spell")],
        "suggest",
    ),
    "a simpler one that is better": (
        SPELL_SUGGEST,
        [pair("spell", "identity"), pair("suggest", "identity"), pair("spell", "suggest")],
        "spell",
    ),
    "one that is not proven is not served for being unbeaten": (
        SPELL_SUGGEST,
        [pair("suggest", "identity")],
        "suggest",
    ),
    "a student must beat suggest": (ALL, [pair("online", "identity")], "identity"),
    "a student that beats suggest": (
        ALL,
        [pair("suggest", "identity"), pair("online", "identity"), pair("online", "suggest")],
        "online",
    ),
    "too many queries worse": (
        ALL | {"suggest": 0.11},
        [pair("suggest", "identity"), pair("spell", "identity")],
        "spell",
    ),
    "a student need not beat what may not be served": (
        ALL | {"suggest": 0.11},
        [pair("suggest", "identity"), pair("online", "identity")],
        "online",
    ),
    "without verdicts": (SPELL_SUGGEST | {"suggest": None}, [pair("suggest", "identity")], "identity"),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule(rule):
    worse, comparisons, expected = RULES[rule]
    assert choose(figures(**worse), comparisons, 0.1) == expected


def evaluation(values_N, texts=None, by="labels"):
    values_N = np.asarray(values_N, float)
    texts = texts or [f"query {n}" for n in range(len(values_N))]
    return SimpleNamespace(
        main="nDCG@10", by=by, split="test", queries=[SimpleNamespace(text=text) for text in texts],
        values={"nDCG@10": values_N, "kept": np.full(len(values_N), 0.5)},
    )  # fmt: skip


def candidates(*names):
    return [Candidate(name, name) for name in names]


@pytest.fixture(scope="module")
def gains():
    """Figures of N queries: spell gains a little, suggest more, the student no more than suggest."""
    rng = np.random.default_rng(0)
    identity_N = rng.uniform(0.2, 0.6, N)
    spell_N = identity_N + 0.02 * (rng.random(N) < 0.5)
    suggest_N = spell_N + rng.normal(0.04, 0.02, N).clip(0)
    online_N = suggest_N + rng.normal(0.0, 0.01, N)
    columns = {"identity": identity_N, "spell": spell_N, "suggest": suggest_N, "online": online_N}
    return {name: evaluation(values_N) for name, values_N in columns.items()}


def test_the_figures_are_the_means_and_the_choice_is_the_simplest_that_nothing_beats(gains):
    grading = grade_candidates(candidates(*gains), gains, 0.1)
    assert (grading.by, grading.metric, grading.split, grading.queries, grading.serve) == (
        "labels", "nDCG@10", "test", N, "suggest",
    )  # fmt: skip
    for figure in grading.candidates:
        values_N, raw_N = (gains[name].values["nDCG@10"] for name in (figure.name, "identity"))
        assert figure.mean == pytest.approx(values_N.mean())
        assert figure.difference == pytest.approx((values_N - raw_N).mean())
        assert figure.low <= figure.difference <= figure.high
        assert figure.worse == pytest.approx((values_N < raw_N - 1e-6).mean())
        assert figure.kept == 0.5
    pairs = {(found.name, found.baseline): found for found in grading.comparisons}
    assert len(pairs) == 6
    assert pairs["suggest", "spell"].low > 0 and pairs["suggest", "spell"].p_value < 0.01
    assert pairs["online", "suggest"].p_value > 0.05


def test_a_query_without_a_verdict_for_one_candidate_counts_for_none(gains):
    values_N = gains["spell"].values["nDCG@10"].copy()
    values_N[:100] = np.nan
    grading = grade_candidates(candidates("identity", "spell"), gains | {"spell": evaluation(values_N)}, 0.1)
    assert grading.queries == N - 100
    assert grading.candidates[0].mean == pytest.approx(gains["identity"].values["nDCG@10"][100:].mean())


def test_without_any_verdict_the_original_queries_are_served(gains):
    missing = {"spell": evaluation(np.full(N, np.nan))}
    grading = grade_candidates(candidates("identity", "spell"), gains | missing, 0.1)
    assert (grading.queries, grading.serve, grading.candidates[1].mean) == (0, "identity", None)


def test_copies_of_a_query_in_the_log_prove_nothing():
    """Five texts a hundred times each: as five queries."""
    texts = [f"Query  {n % 5}" if n % 2 else f"query {n % 5}" for n in range(500)]
    both = {"identity": evaluation(np.full(500, 0.3), texts), "spell": evaluation(np.full(500, 0.5), texts)}
    grading = grade_candidates(candidates(*both), both, 0.1)
    assert (grading.queries, grading.serve) == (5, "identity")


@pytest.mark.parametrize(("by", "worse"), [("labels", 0.5), ("judge blend", 0.25)])
def test_small_changes_of_a_judges_figure_do_not_count_as_worse(by, worse):
    drops_N = np.tile([0.0, -0.005, -0.02, 0.3], 50)
    both = {"identity": evaluation(np.full(200, 0.5), by=by), "spell": evaluation(0.5 + drops_N, by=by)}
    assert grade_candidates(candidates(*both), both, 0.1).candidates[1].worse == worse


def test_distinct_texts_by_hand():
    rows_NF = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]])
    assert distinct(rows_NF, ["a b", "c", "A  B"]).tolist()[0] == [3.0, 4.0]
    assert np.isnan(distinct(rows_NF, ["a b", "a b", "c"])[0, 1])
