"""BEQUE's filter: thresholds, order, context, and queries that keep the original."""

import numpy as np
import pytest

from agents.examples.engine_pairs import EngineConfig, Scored, approved, engine_pairs, score_options
from agents.examples.pairs import bought_titles
from agents.examples.scoring import FeedbackScorer
from agents.examples.tasks import Example
from qr_env.common.errors import ConfigError
from qr_env.common.types import Query
from qr_env.language.tokenize import ENGLISH
from tests.helpers.fakes import tiny_shop, tiny_simulator

NAN = float("nan")


@pytest.fixture(scope="module")
def tiny_setup():
    shop = tiny_shop()
    return shop, shop.split("train"), tiny_simulator


def scored(queries, options, relevance, increment, reward):
    figures = {"relevance": relevance, "increment": increment, "reward": reward, "hitrate": reward}
    return Scored(queries, options, {name: np.array(rows, np.float32) for name, rows in figures.items()}, "fake")


def test_both_thresholds_and_the_order_by_reward(tiny_setup):
    _, train, _ = tiny_setup
    verdicts = scored(
        train[:2], [["a", "b", "c", "d"], ["e"]],
        relevance=[[0.9, 0.1, 0.9, 0.9], [NAN] * 4],
        increment=[[0.5, 0.5, 0.0, 0.2], [NAN] * 4],
        reward=[[0.1, 0.9, 0.9, 0.3], [NAN] * 4],
    )  # fmt: skip
    examples, counts = engine_pairs(verdicts, EngineConfig(min_relevance=0.5, min_increment=0.0))
    assert [(e.query, e.response, e.source) for e in examples] == [
        (train[0].text, "d", "engine:fake"),
        (train[0].text, "a", "engine:fake"),
    ]
    assert examples[0].reward == pytest.approx(0.3) and examples[0].query_id == train[0].id
    dropped = [counts[name] for name in ("without a verdict", "relevance 0.5 or less", "increment 0 or less")]
    assert dropped == [1, 1, 1] and counts["candidates"] == 5 and counts["kept"] == 2
    assert counts["queries that keep the original"] == 0  # a missing verdict is no evidence that the original is good


def test_a_query_whose_candidates_all_fail_keeps_its_original(tiny_setup):
    _, train, _ = tiny_setup
    verdicts = scored(train[:2], [["a"], []], [[0.9], [NAN]], [[0.0], [NAN]], [[0.5], [NAN]])
    examples, counts = engine_pairs(verdicts)
    assert [(example.query, example.response) for example in examples] == [(train[0].text, "")]
    assert counts["queries that keep the original"] == 1
    assert engine_pairs(verdicts, EngineConfig(keep_original=False))[0] == []


def test_the_thresholds_are_strict_and_the_number_of_rewrites_is_limited(tiny_setup):
    _, train, _ = tiny_setup
    verdicts = scored(train[:1], [["a", "b", "c"]], [[0.5, 0.6, 0.7]], [[1.0] * 3], [[0.2, 0.3, 0.4]])
    examples, counts = engine_pairs(verdicts, EngineConfig(min_relevance=0.5, max_rewrites=1))
    assert [example.response for example in examples] == ["c"]
    assert (counts["relevance 0.5 or less"], counts["beyond 1 a query"]) == (1, 1)


def test_a_share_of_the_examples_has_bought_titles_as_context(tiny_setup):
    shop, train, _ = tiny_setup
    titles = bought_titles(shop, train)
    assert titles["q01"] == shop.titles[:2]
    assert set(titles) == {query.id for query in train}
    size = len(train)
    verdicts = scored(train, [["a"]] * size, [[1.0]] * size, [[1.0]] * size, [[1.0]] * size)
    every = engine_pairs(verdicts, EngineConfig(context_share=1.0), titles)[0]
    assert all(example.context == tuple(titles[example.query_id][:3]) for example in every)
    assert not any(example.context for example in engine_pairs(verdicts, EngineConfig(context_share=0.0), titles)[0])
    half = engine_pairs(verdicts, EngineConfig(context_share=0.5), titles)
    assert half == engine_pairs(verdicts, EngineConfig(context_share=0.5), titles)


def test_the_engine_approves_sofa_for_couch(tiny_setup):
    _, train, simulator = tiny_setup
    couch = [query for query in train if query.text == "couch"]
    verdicts = score_options(couch, [["sofa", "refrigerator", "couch", "sofa"]], FeedbackScorer(simulator), "fake")
    assert verdicts.options == [["sofa", "refrigerator"]]  # the query itself is no candidate
    examples, counts = engine_pairs(verdicts)
    assert [example.response for example in examples] == ["sofa"]
    assert examples[0].relevance == 1.0 and examples[0].increment == 10.0
    assert counts["relevance 0.2 or less"] == 1


def test_rewrites_of_any_source_are_approved_by_reward(tiny_setup):
    _, train, simulator = tiny_setup
    by_text = {query.text: query for query in train}
    pairs = [("couch", "sofa"), ("couch", "refrigerator"), ("fridge", "sofa"), ("divan", "sofa")]
    examples = [Example("rewrite", query, text, source="graph") for query, text in pairs]
    queries = [by_text.get(query, Query(-1, "", query)) for query, _ in pairs]
    score, known = FeedbackScorer(simulator), frozenset(["fridg", "sofa"])
    kept, counts = approved(examples, queries, score, 0.02, trusted=False, known=known, tokenizer=ENGLISH)
    assert [(example.query, example.response) for example in kept] == [("couch", "sofa"), ("fridge", "")]
    assert kept[0].reward > 0.5
    assert list(counts.values()) == [1, 2, 1, 1]
    kept, _ = approved(examples, queries, score, 0.02, trusted=True, known=frozenset(), tokenizer=ENGLISH)
    assert ("fridge", "") not in [
        (example.query, example.response) for example in kept
    ]  # a word that the catalogue does not have
    assert ("divan", "sofa") in [(example.query, example.response) for example in kept]


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match=r"context_share=1\.5"):
        EngineConfig(context_share=1.5)
