"""The choice of examples."""

from __future__ import annotations

from qr_env.evaluation.result import Evaluation
from qr_env.shop.shop import Shop
from runs.report.sections.examples import EXAMPLES, choose_examples


def test_examples_are_sorted_disjoint_and_bounded(shop: Shop, evaluations: dict[str, Evaluation]) -> None:
    groups = choose_examples(evaluations["oracle"], shop)
    gains = [example["after"] - example["before"] for example in groups["best"]]
    assert gains == sorted(gains, reverse=True) and min(gains) > 0
    queries = [example["query"] for group in groups.values() for example in group]
    assert len(queries) == len(set(queries)) == 7
    assert all(len(group) <= EXAMPLES for group in groups.values())
    assert groups["worst"] == []
    assert groups["best"][0]["hits_after"][0]["level"] == 3
    assert groups == choose_examples(evaluations["oracle"], shop)
