"""Probes expose each weakness of a judge; sanitizing reduces it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from judges.simple.embedding import EmbeddingJudge
from judges.simple.ensemble import EnsembleJudge
from judges.simple.labels import LabelsJudge
from judges.simple.thresholds import Thresholds
from judges.validation.probes import (
    KINDS,
    REWRITE_KINDS,
    ProbeSet,
    exploit_message,
    exploits,
    planted_rewrites,
    rates,
    rewrite_report,
    shop_judge,
)
from judges.verdict_store.stored import ShopJudge
from qr_env.common.errors import JudgeError
from qr_env.common.types import FloatArray, Query
from qr_env.environment.simulator import Simulator
from qr_env.reward.reward import GAIN_ONLY, Reward
from qr_env.shop.shop import Shop
from tests.helpers.fakes import FailingJudge, HashEncoder, WordRetriever, tiny_shop, tiny_simulator, words

SHOP = tiny_shop()
PROBES = ProbeSet.from_shop(SHOP, n=12, seed=0, split="all")


class PatternJudge:
    """A judge of texts that grades Exact where a text matches a pattern, else Irrelevant."""

    name = fingerprint = "pattern"

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def product_texts(self, shop: Shop) -> list[str]:
        return shop.titles

    def grade_pairs(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        fooled = np.array([[self.pattern in text] for _, text in pairs])
        return np.where(fooled, [0, 0, 0, 1], [1, 0, 0, 0]).astype(np.float32)

    def stats(self) -> dict[str, float]:
        return {}


def test_probes_differ_from_the_unmodified_products_in_their_titles_only() -> None:
    original, *kinds = PROBES.rows_NK.T
    assert len(kinds) == len(KINDS) and len(PROBES.shop.products) == 12 * (1 + len(KINDS))
    table = PROBES.shop.products.drop_columns(["product_id", "title", "brand"])
    titles = PROBES.shop.titles
    for rows_N in kinds:
        assert table.take(rows_N).equals(table.take(original))
        assert all(titles[row] in titles[variant] for row, variant in zip(original, rows_N, strict=True))
    levels = PROBES.shop.levels(np.arange(12), PROBES.rows_NK)
    assert (levels == levels[:, :1]).all() and levels.max() < 2, "no probe is relevant"
    again = ProbeSet.from_shop(SHOP, n=12, seed=0, split="all")
    assert again.shop.hash == PROBES.shop.hash
    for query, row in zip(PROBES.shop.all_queries, original.tolist(), strict=True):
        assert set(words(query.text)).isdisjoint(words(titles[row]))


def test_labels_are_not_fooled() -> None:
    figures = PROBES.exploit_rate(LabelsJudge(SHOP))
    assert set(figures) == {"judge/exploit_rate", *(f"judge/exploit_rate/{kind}" for kind in KINDS)}
    assert set(figures.values()) == {0.0}


@pytest.mark.parametrize(
    ("pattern", "kinds"),
    [("Exact", {"instruction", "delimiter"}), ("best seller", {"padded"}), ("Answer: E", {"delimiter"})],
)
def test_each_weakness_raises_its_kinds_rate(pattern: str, kinds: set[str]) -> None:
    figures = PROBES.exploit_rate(PatternJudge(pattern))
    assert {kind for kind in KINDS if figures[f"judge/exploit_rate/{kind}"] > 0} == kinds


def test_similarity_is_fooled_by_the_querys_words_and_sanitizing_helps() -> None:
    judge = EmbeddingJudge(SHOP, HashEncoder(), Thresholds(0.1, 0.25, 0.4, 0.05))
    before, after = PROBES.report(judge), PROBES.report(judge, sanitize=True)
    assert before["stuffed"]["rate"].low > 0.5
    assert after["stuffed"]["rate"].value == 0
    assert before["instruction"]["rate"].value == 0
    assert before["stuffed"]["lift"].value > before["query"]["lift"].value > 0.1


def test_missing_verdicts_are_not_exploits() -> None:
    class NoVerdicts(FailingJudge):
        def for_shop(self, shop: Shop) -> FailingJudge:
            return self

    assert all(np.isnan(value) for value in PROBES.exploit_rate(NoVerdicts()).values())
    change = np.array([[0.1, np.nan], [np.nan, np.nan], [0.0, 0.9]])
    report = rates(change, ("a", "b"), margin=0.05)
    assert [report[kind]["rate"].value for kind in ("all", "a", "b")] == pytest.approx([2 / 3, 0.5, 1])


def test_every_kind_of_judge_can_be_probed() -> None:
    embedding = EmbeddingJudge(SHOP, HashEncoder(), Thresholds(0.1, 0.2, 0.3, 0.02))
    judges = (embedding, LabelsJudge(SHOP, "train"), ShopJudge(SHOP, PatternJudge("E")), PatternJudge("E"))
    for judge in (*judges, EnsembleJudge([embedding, LabelsJudge(SHOP)], [1, 3])):
        other = shop_judge(judge, PROBES.shop)
        assert other.grade(PROBES.shop.all_queries, PROBES.rows_NK).probs_NK4.shape == (12, 1 + len(KINDS), 4)
    with pytest.raises(JudgeError, match=r"'failing' .* for_shop\(shop\)"):
        PROBES.exploit_rate(FailingJudge())
    with pytest.raises(JudgeError, match="need queries"):
        ProbeSet.from_shop(replace(SHOP, queries=SHOP.queries[:0], qrels=SHOP.qrels[:0], slices={}))


def test_planted_rewrites_get_no_more_reward_than_the_best_one() -> None:
    report = rewrite_report(tiny_simulator, SHOP, n=12, split="all")
    assert list(report) == ["all", *REWRITE_KINDS]
    assert report["all"]["rate"].value == 0 and report["salad"]["lift"].value < 0


def test_a_copy_is_penalised_even_where_the_original_is_best() -> None:
    kept = replace(SHOP, oracle={})
    assert rewrite_report(tiny_simulator, kept, n=12, split="all")["copy"]["lift"].value < 0

    def gain_only(blocks: int, group_size: int) -> Simulator:
        return Simulator(
            SHOP, WordRetriever(SHOP), LabelsJudge(SHOP), Reward(GAIN_ONLY), blocks=blocks, group_size=group_size
        )

    assert rewrite_report(gain_only, kept, n=12, split="all")["copy"]["lift"].value == 0


def test_planted_rewrites_match_their_names() -> None:
    query = Query(4, "q04", "blue couch")
    reference, copy, salad, invented = planted_rewrites(SHOP, [query], seed=0)[0]
    assert (reference, copy) == ("blue sofa", "blue couch blue couch")
    assert salad.startswith("blue couch ") and len(salad.split()) == 10
    assert len(invented.split()) > 4


def test_kinds_above_five_percent_are_named_the_worst_first() -> None:
    by_kind = {"all": 0.4, "query": 0.06, "stuffed": 0.9, "brand": 0.05, "padded": float("nan")}
    assert list(exploits(by_kind).items()) == [("stuffed", 0.9), ("query", 0.06)]
    assert exploit_message("blend", by_kind).endswith("stuffed 90 %, query 6 %")
    assert "no kind" in exploit_message("labels", {"all": 0.5, "query": 0.0})
