"""Anchor pairs: rewrites of the query log for streaming queries, kept by reward, replayed and resumable."""

from dataclasses import replace

import numpy as np
import pytest

from agents.examples.anchor import REPLAYED_PER_QUERY, TYPO_VARIANTS, AnchorPairs, typo_variants
from agents.examples.candidates import LogCandidates
from agents.examples.scoring import RewardScorer
from agents.query_log.word_model import word_model
from judges.simple.labels import LabelsJudge
from qr_env.environment.simulator import Simulator
from qr_env.reward.reward import Reward
from tests.helpers.fakes import WordRetriever, tiny_shop


@pytest.fixture(scope="module")
def setup():
    shop = tiny_shop()
    train = shop.split("train")
    parts = (shop, WordRetriever(shop), LabelsJudge(shop), Reward())
    score = RewardScorer(lambda blocks, group_size: Simulator(*parts, blocks=blocks, group_size=group_size))
    return train, LogCandidates(word_model(shop, train)), score


def test_couch_pairs_with_sofa_and_sofa_is_kept(setup):
    train, source, score = setup
    pairs = dict(AnchorPairs(source, score).pairs(train))
    assert "sofa" in pairs["couch"].split()
    assert pairs["sofa"] == ""


def test_earlier_queries_are_replayed_and_looked_up_once(setup):
    train, source, score = setup
    asked = []

    def counting(queries, options):
        asked.extend(query.id for query in queries)
        return score(queries, options)

    anchor_pairs = AnchorPairs(source, counting)
    assert len(anchor_pairs.pairs(train[:2])) == 2 + REPLAYED_PER_QUERY * 2
    later = anchor_pairs.pairs(train[1:3])
    known = {
        text for query in train[:3] for text in (query.text, *(t.text for t in typo_variants(query, TYPO_VARIANTS, 0)))
    }
    assert {text for text, _ in later[2:]} <= known
    assert later[0][0] == train[1].text and list(dict.fromkeys(asked)) == [query.id for query in train[:3]]
    assert len(asked) == len(known)  # each text once


def test_a_typo_variant_is_the_same_query_with_one_typo(setup):
    train, source, score = setup
    query = next(query for query in train if query.text == "couch")
    made = typo_variants(query, 6, seed=1)
    assert made == typo_variants(query, 6, seed=1) and len({variant.text for variant in made}) == len(made) > 2
    assert all((variant.row, variant.id) == (query.row, query.id) and variant.text != query.text for variant in made)
    anchor_pairs = AnchorPairs(source, score)
    anchor_pairs.pairs([query])
    learnt = dict(anchor_pairs.pairs_of[query.id])
    assert all("sofa" in learnt[variant.text].split() for variant in typo_variants(query, TYPO_VARIANTS, 0))
    assert len(AnchorPairs(source, score, typo_variants=0).pairs([query])) == 1 + REPLAYED_PER_QUERY


def test_a_changed_text_or_assortment_is_looked_up_again(setup):
    train, source, score = setup
    query = next(query for query in train if query.text == "couch")
    epochs, asked = [0, 0, 0, 1, 1], []
    anchor_pairs = AnchorPairs(
        source, lambda queries, options: asked.append(queries[0].text) or score(queries, options), typo_variants=0
    )
    anchor_pairs.epoch = lambda: epochs[anchor_pairs.calls]
    for text in ("couch", "davenport", "davenport", "davenport"):
        pair = anchor_pairs.pairs([replace(query, text=text)])[0]
        assert pair[0] == text and "sofa" in pair[1].split()
    assert asked == ["couch", "davenport", "davenport"] and anchor_pairs.order == [query.id]
    again = AnchorPairs(source, score, typo_variants=0, epoch=lambda: 1)
    again.load_state_dict(anchor_pairs.state_dict())
    assert again.pairs([replace(query, text="davenport")]) == anchor_pairs.pairs([replace(query, text="davenport")])
    assert len(asked) == 3
    assert AnchorPairs(source, score).pairs([replace(query, row=-1, id="log:x", text="x")]) == []


def test_only_recent_queries_are_replayed_if_limited(setup):
    train, source, score = setup
    anchor_pairs = AnchorPairs(source, score, typo_variants=0, recent=2)
    anchor_pairs.pairs(train)
    anchor_pairs.pairs([replace(train[0], text="davenport")])
    assert anchor_pairs.order[-1] == train[0].id and len(anchor_pairs.order) == len(train)
    replayed = {text for _ in range(20) for text, _ in anchor_pairs.pairs([train[-1]])}
    assert replayed == {train[-1].text, "davenport"}


def test_a_query_without_a_verdict_has_no_pair(setup):
    train, source, _ = setup
    silent = AnchorPairs(source, lambda queries, options: np.full((len(queries), 20), np.nan, np.float32))
    options = silent.pairs([query for query in train if query.text == "couch"])
    assert options == []


def test_keep_words_prepends_the_query(setup):
    train, source, score = setup
    pairs = AnchorPairs(replace(source, keep_words=True), score).pairs(train)
    assert all(not rewrite or rewrite.startswith(f"{text} ") for text, rewrite in pairs)
    assert any(rewrite for _, rewrite in pairs)


def test_restored_anchor_pairs_continue_identically(setup):
    train, source, score = setup
    first = AnchorPairs(source, score)
    first.pairs(train[:3])
    second = AnchorPairs(source, score)
    second.load_state_dict(first.state_dict())
    assert [second.pairs(train[2:5]) for _ in range(3)] == [first.pairs(train[2:5]) for _ in range(3)]
