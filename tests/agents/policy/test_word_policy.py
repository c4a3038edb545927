"""`agents.policy.word_policy`: what a policy over suggested words draws, writes, learns and saves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch

from agents.policy.word_policy import (
    FEATURES,
    MAX_WORDS,
    SHARES,
    WordPolicy,
    WordPolicyConfig,
    draw,
    train,
    word_features,
    words_of,
)
from agents.suggestions.base import Suggestion
from agents.suggestions.rewriter import Evidence, Suggest
from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError
from qr_env.environment.simulator import Simulator
from qr_env.query_text.repair import Repair
from qr_env.retrieval.bm25 import BM25
from qr_env.reward.reward import Reward
from tests.helpers.fakes import tiny_shop


class Words:
    """Suggests a good word and a bad one for every query of `tiny_shop`."""

    name = "fixed"

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.calls = 0

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        self.calls += 1
        return [[Suggestion(word, 0.8, self.name) for word in self.words] for _ in queries]


@pytest.fixture(scope="module")
def shop():  # type: ignore[no-untyped-def]
    return tiny_shop()


def suggest_of(shop, words=("sofa", "lamp")):  # type: ignore[no-untyped-def]
    return Suggest(shop, BM25.build(shop), Words(words), Repair(shop))


EVIDENCE = Evidence("red deckpaint", ("deck", "paint"), (Suggestion("wood", 0.5, "titles"),), 4)


def test_repaired_words_come_first_with_all_their_weight() -> None:
    assert words_of(EVIDENCE) == [("deck", 1.0), ("paint", 1.0), ("wood", 0.5)]
    many = Evidence("q", (), tuple(Suggestion(f"w{n}", 0.5, "titles") for n in range(30)), 0)
    assert len(words_of(many)) == MAX_WORDS


def test_features_of_each_word() -> None:
    rows = [dict(zip(FEATURES, row, strict=True)) for row in word_features(EVIDENCE)]
    assert [row["repaired"] for row in rows] == [1, 1, 0]
    assert [row["weight"] for row in rows] == [1, 1, 0.5]
    assert {row["full matches"] for row in rows} == {0.4}
    assert {row["repaired words"] for row in rows} == {1.0}


def test_a_new_policy_repairs_and_adds_a_quarter_of_each_weight(shop) -> None:  # type: ignore[no-untyped-def]
    policy = WordPolicy(suggest_of(shop))
    assert policy.rewrite(["red couch"]) == [["sofa^0.2 lamp^0.2"]]


def test_a_query_is_searched_for_words_once(shop) -> None:  # type: ignore[no-untyped-def]
    source = Words(["sofa"])
    policy = WordPolicy(Suggest(shop, BM25.build(shop), source, Repair(shop)))
    policy.rewrite(["red couch", "red couch", "lamp"])
    policy.rewrite(["lamp"])
    assert source.calls == 1


def test_samples_are_fixed_by_the_seed_and_follow_the_probabilities(shop) -> None:  # type: ignore[no-untyped-def]
    policy = WordPolicy(suggest_of(shop))
    first, again, other = (policy.rewrite(["red couch"], n=30, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) > 3
    logits_PTB = torch.log(torch.tensor([[[0.7, 0.3] + [1e-9] * (len(SHARES) - 2)]])).repeat(4000, 1, 1)
    drawn_PT = draw(logits_PTB, torch.Generator().manual_seed(0))
    assert (drawn_PT == 0).float().mean().item() == pytest.approx(0.7, abs=0.03)


def test_it_learns_to_add_the_word_that_the_judge_rewards(shop) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    policy = WordPolicy(suggest_of(shop))
    queries = [query for query in shop.all_queries if "couch" in query.text]
    assert queries
    make_simulator = partial(Simulator, shop, BM25.build(shop), LabelsJudge(shop), Reward())
    config = WordPolicyConfig(steps=60, queries=8, group_size=16, learning_rate=3e-2)
    history = train(policy, make_simulator, queries, config)
    early, late = (sum(row["reward"] for row in part) / len(part) for part in (history[:10], history[-10:]))
    assert late > early
    assert "reward" in history[0]


def test_a_saved_policy_rewrites_the_same(shop, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    policy = WordPolicy(suggest_of(shop), seed=3)
    with torch.no_grad():
        policy.output.bias += torch.arange(len(SHARES)).float()
    policy.save(tmp_path / "words")
    loaded = WordPolicy.load(tmp_path / "words", suggest_of(shop))
    assert loaded.rewrite(["red couch"], n=4) == policy.rewrite(["red couch"], n=4)
    with pytest.raises(ConfigError, match="no word policy"):
        WordPolicy.load(tmp_path, suggest_of(shop))
