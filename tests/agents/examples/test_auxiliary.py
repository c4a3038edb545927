"""Auxiliary tasks: balanced answers, hard cases first, thoughts; and a language model that confirms pairs."""

import numpy as np
import pytest

from agents.examples.auxiliary import (
    quality_examples,
    relevance_tags,
    tagging_examples,
    thought_examples,
    title_examples,
    title_stems,
)
from agents.examples.engine_pairs import Scored
from agents.examples.pairs import bought_titles
from agents.examples.tasks import NO, YES, Example
from agents.prompted.confirm import ModelConfirm
from tests.helpers.fakes import tiny_shop


@pytest.fixture(scope="module")
def shop():
    return tiny_shop()


def scored(queries, reward):
    reward_PG = np.array(reward, np.float32)
    figures = dict.fromkeys(("reward", "relevance", "increment", "hitrate"), reward_PG)
    options = [[f"{query.text} {column}" for column in range(reward_PG.shape[1])] for query in queries]
    return Scored(queries, options, figures, "fake")


def test_quality_is_balanced_and_takes_the_hard_queries_first(shop):
    train = shop.split("train")
    nan = float("nan")
    verdicts = scored(train[:5], [[0.5, 0.1], [0.9, -0.3], [nan, nan], [0.2, 0.0], [0.01, 0.0]])
    examples, counts = quality_examples(verdicts)
    assert [(e.response, e.rewrite) for e in examples] == [
        (YES, f"{train[1].text} 0"),
        (NO, f"{train[1].text} 1"),
    ]
    assert examples[0].reward == pytest.approx(0.9) and examples[0].task == "quality"
    assert counts == {"queries with a yes": 3, "queries with a no": 1, "kept": 2}
    assert quality_examples(scored(train[:2], np.zeros((2, 0)))) == ([], {"yes": 0, "no": 0})


def test_without_labels_tags_come_from_relevance(shop):
    train = shop.split("train")
    examples, _ = relevance_tags(scored(train[:3], [[0.9, 0.1], [0.5, 0.4], [1.0, 0.9]]), seed=1)
    assert sorted(example.response for example in examples) == [NO, YES]
    assert {example.task for example in examples} == {"tagging"}


def test_tags_state_whether_two_queries_mean_the_same(shop):
    asked = [query for query in shop.all_queries if query.split != "dev"]  # "couch white" among them
    examples, counts = tagging_examples(shop, asked)
    pairs = {frozenset((e.query, e.rewrite)): e.response for e in examples}
    answers = [example.response for example in examples]
    assert len(pairs) == len(examples) == counts["kept"] > 0
    assert answers.count(YES) == answers.count(NO)
    exact = {query.text: set(np.flatnonzero(shop.qrels[query.row].toarray()[0] == 4)) for query in shop.all_queries}
    held_out = {query.text for query in shop.all_queries if query.split == "dev"}
    for pair, answer in pairs.items():
        first, second = pair
        assert bool(exact[first] & exact[second]) == (answer == YES)
        assert not pair & held_out


def test_title_examples_are_bought_titles(shop):
    train = shop.split("train")
    examples = title_examples(bought_titles(shop, train), train, limit=1)
    assert [(e.query, e.response) for e in examples][:2] == [(q.text, shop.titles[0]) for q in train[:2]]


def test_a_thought_lists_unknown_words_and_shared_bought_words(shop):
    train = shop.split("train")
    titles, known = bought_titles(shop, train), title_stems(shop)
    rewrites = [
        Example("rewrite", "couch", "sofa", query_id="q01"),
        Example("rewrite", "red sofa", "", query_id="q02"),
        Example("rewrite", "divan", "sofa"),  # nothing is known of it
    ]
    thoughts = [example.response for example in thought_examples(rewrites, titles, known, shop.tokenizer)]
    assert thoughts == [
        "no title has couch, bought: lindholm sofa seater fabric; sofa",
        "titles have all words, bought: lindholm seater fabric; keep",
    ]


class SofaModel:
    """A language model that answers yes for sofas and no otherwise, and fails for beds."""

    name = "sofas"

    def __init__(self):
        self.settings = {"decoding": "greedy"}
        self.asked = []

    def generate(self, prompts, max_tokens, json_schema):
        for index, prompt in enumerate(prompts):
            self.asked.append(prompt)
            yield (index, "", "timeout") if "bed" in prompt else (index, " Yes." if "sofa" in prompt else "No", "")


def test_stored_answers_of_a_model_are_not_generated_again(shop, tmp_path):
    couch, model = shop.split("train")[1], SofaModel()
    confirm = ModelConfirm(model, "expand", tmp_path)
    assert confirm([couch] * 4, ["sofa", "lamp", "sofa", "bed"]).tolist() == [True, False, True, False]
    assert "Second: couch sofa\n" in model.asked[0]
    assert len(model.asked) == 3 and confirm.unreadable == 1
    again = ModelConfirm(SofaModel(), "expand", tmp_path)
    assert again([couch] * 2, ["sofa", "lamp"]).tolist() == [True, False]
    assert again.model.asked == []
