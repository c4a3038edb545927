"""The sentence for each kind of answer."""

import pytest

from runs.common.serving_choice import CandidateFigures, Grading, PairedComparison
from runs.online.verdict_text import NOT_ENOUGH, reason


def figure(name, mean, worse=0.05, made_with=""):
    difference = mean - 0.386
    return CandidateFigures(
        name, name, mean, difference, difference - 0.005, difference + 0.005, 0.2, worse, 0.4, made_with
    )


def pair(name, baseline, difference, p):
    return PairedComparison(name, baseline, difference, difference - 0.003, difference + 0.003, p)


def grading(serve, candidates, comparisons, by="labels", split="test"):
    worse_by = 1e-6 if by == "labels" else 0.01
    return Grading(by, "nDCG@10", split, 3833, worse_by, serve, candidates, comparisons)


IDENTITY, SUGGEST, ONLINE = figure("identity", 0.386, 0.0), figure("suggest", 0.411, 0.09), figure("online", 0.410)
CANDIDATES = [IDENTITY, SUGGEST, ONLINE]


def test_suggest_and_a_student_that_is_no_better():
    pairs = [pair("suggest", "identity", 0.025, 0.001), pair("online", "suggest", -0.001, 0.8)]
    assert reason([grading("suggest", CANDIDATES, pairs)], 0.1) == (
        "Serve suggest: nDCG@10 0.386 → 0.411 (+0.025 [+0.020 +0.030]), 9.0 % of 3,833 test queries worse. "
        "The student is no better than suggest (-0.001 [-0.004 +0.002]). Graded by labels."
    )


def test_nothing_is_proven_better():
    found = reason([grading("identity", CANDIDATES, [pair("online", "suggest", -0.001, 0.8)])], 0.1)
    assert found.startswith("Serve the original queries: nothing that may be served is proven better (best: suggest, ")
    assert found.endswith("Graded by labels on 3,833 test queries.")


@pytest.mark.parametrize(
    ("difference", "p", "words"),
    [
        (0.008, 0.001, "is better than suggest"),
        (0.002, 0.5, "is not proven better than suggest"),
        (-0.02, 0.001, "is worse than suggest"),
    ],
)
def test_the_student_against_suggest(difference, p, words):
    assert words in reason([grading("suggest", CANDIDATES, [pair("online", "suggest", difference, p)])], 0.1)


def test_without_suggest_the_student_is_compared_with_what_is_served():
    candidates = [IDENTITY, figure("spell", 0.4), ONLINE]
    pairs = [pair("online", "spell", 0.01, 0.3), pair("online", "identity", 0.024, 0.001)]
    assert "not proven better than spell" in reason([grading("spell", candidates, pairs)], 0.1)


def test_a_better_candidate_that_makes_too_many_queries_worse_is_named():
    candidates = [IDENTITY, figure("spell", 0.39), figure("suggest", 0.411, 0.14)]
    found = reason([grading("spell", candidates, [pair("suggest", "spell", 0.021, 0.001)])], 0.1)
    assert "Better on average, but more than 10.0 % of the queries worse: suggest (14.0 %)." in found


def test_what_a_candidate_was_made_with_and_dev_queries_are_said():
    candidates = [IDENTITY, figure("suggest", 0.411, made_with="words of bm25's titles")]
    found = reason([grading("suggest", candidates, [], "judge embedding", "dev")], 0.1)
    assert found.startswith("Serve suggest (words of bm25's titles): ")
    assert "5.0 % of 3,833 dev queries worse by more than 0.01." in found
    assert found.endswith("Graded by judge embedding on 3,833 dev queries, which also chose the checkpoint.")


def test_another_source_of_grades_is_mentioned_where_it_differs():
    by_labels = grading("suggest", CANDIDATES, [])
    assert "By judge" not in reason([by_labels, grading("suggest", CANDIDATES, [], "judge llm")], 0.1)
    assert reason([by_labels, grading("online", CANDIDATES, [], "judge llm")], 0.1).endswith(
        "By judge llm: the student."
    )


def test_no_query_to_compare():
    assert reason([], 0.1) == NOT_ENOUGH


def test_no_rewriter_gains():
    candidates = [IDENTITY, figure("spell", 0.38)]
    assert reason([grading("identity", candidates, [])], 0.1).startswith(
        "Serve the original queries: no rewriter raises nDCG@10."
    )
