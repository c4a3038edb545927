"""Best of N: selection by the judge, ties, missing verdicts and costs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agents.baselines.best_of import BestOf
from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError
from qr_env.shop.shop import Shop
from tests.helpers.fakes import CountingJudge, FailingJudge, WordRetriever, tiny_shop


class Proposing:
    """Returns a table's rewrites, filled up with the last one."""

    name = "proposing"

    def __init__(self, table: dict[str, list[str]]) -> None:
        self.table = table
        self.asked: list[int] = []

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        self.asked.append(n)
        rows = [self.table.get(query, [query]) for query in queries]
        return [(row + [row[-1]] * n)[:n] for row in rows]


TABLE = {"couch": ["shoes", "sofa", "refrigerator"], "sofa": ["shoes", "lindholm"], "settee": ["xyzzy"]}


@pytest.fixture(scope="module")
def shop() -> Shop:
    return tiny_shop()


def test_the_judges_best_is_selected_and_the_original_wins_ties(shop: Shop) -> None:
    base = Proposing(TABLE)
    agent = BestOf(base, 4, shop, WordRetriever(shop), LabelsJudge(shop), "replace")
    rewrites = agent.rewrite(["couch", "sofa", "settee", "unknown query"])
    # "lindholm" finds the same sofas as "sofa": the original is kept. Nothing helps "settee", of what is proposed.
    assert rewrites == [["sofa"], ["sofa"], ["settee"], ["unknown query"]]
    assert base.asked == [3]  # the original is the fourth
    assert agent.name == "best-of-4:proposing"
    best, second = agent.rewrite(["couch"], n=2)[0]
    assert best == "sofa" and second != "sofa"
    assert agent.rewrite(["settee"], n=3) == [["settee", "xyzzy", "settee"]]
    assert agent.rewrite([]) == []


def test_costs_are_counted_a_query(shop: Shop) -> None:
    retriever, judge = WordRetriever(shop), CountingJudge(LabelsJudge(shop))
    agent = BestOf(Proposing(TABLE), 4, shop, retriever, judge, "replace")
    agent.rewrite(["couch", "sofa"])
    assert retriever.calls == judge.calls == 1
    # couch: itself and three proposals, sofa: itself and two. Ten products a type; couch alone finds none, and what
    # "sofa" and "lindholm" both find is one verdict.
    assert agent.costs == {"searches/query": 3.5, "verdicts/query": (30 + 20) / 2}


def test_missing_verdicts_keep_the_original(shop: Shop) -> None:
    agent = BestOf(Proposing(TABLE), 4, shop, WordRetriever(shop), FailingJudge(), "replace")
    assert agent.rewrite(["sofa"]) == [["sofa"]]


def test_one_candidate_is_refused(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="best-of-1"):
        BestOf(Proposing(TABLE), 1, shop, WordRetriever(shop), LabelsJudge(shop))
