"""PRO: selection of candidates, their Parquet file, and a student that learns the order of the rewards."""

import copy
import math

import numpy as np
import pytest
import torch

from agents.policy.prompt import completion_ids, prompt_ids
from agents.supervised.pro import PROConfig, ScoredCandidates, align, sample_candidates, select_contrast
from qr_env.common.errors import ConfigError
from qr_env.common.types import Query
from tests.helpers.models import copy_of, same_weights, small_student, student_trained_on

TEXTS = ("couch", "fridge", "trainers", "red")
QUERIES = [Query(row, text, text) for row, text in enumerate(TEXTS)]
OPTIONS = ("sofa settee", "freezer", "running shoes", "blue", "")
NAN = math.nan


def by_length(queries, options):
    """Rewards every letter; "fridge" has no verdict; as many columns as the longest row."""
    rewards = np.full((len(queries), max(map(len, options))), 9.0)  # the values beyond a row's end must not be read
    for p, (query, texts) in enumerate(zip(queries, options, strict=True)):
        rewards[p, : len(texts)] = NAN if query.text == "fridge" else [len(text) / 10 for text in texts]
    return rewards


def some_candidates(rewards=(0.3, 0.1, 0.2, -0.1, 0.0)):
    return ScoredCandidates(TEXTS, (OPTIONS,) * 4, np.array([rewards] * 4, np.float32))


def test_candidates_are_distinct_limited_and_include_the_empty_rewrite():
    candidates = sample_candidates(small_student(max_new_tokens=2), QUERIES, 6, by_length, seed=1)
    assert candidates.queries == TEXTS
    for texts, rewards in zip(candidates.texts_PG, candidates.rewards_PG, strict=True):
        assert texts.count("") == 1
        assert len(set(texts)) == len(texts) <= 7
        assert np.isnan(rewards[len(texts) :]).all()
    assert np.isnan(candidates.rewards_PG[1]).all()
    assert candidates.rewards_PG[0, : len(candidates.texts_PG[0])] == pytest.approx(
        [len(text) / 10 for text in candidates.texts_PG[0]]
    )
    again = sample_candidates(small_student(max_new_tokens=2), QUERIES, 6, by_length, seed=1)
    assert again.texts_PG == candidates.texts_PG
    assert sample_candidates(small_student(), QUERIES, 6, by_length, seed=2).texts_PG != candidates.texts_PG


def test_beam_search_finds_the_most_probable_rewrites():
    student = student_trained_on([("couch", "sofa"), ("fridge", "freezer")])
    found = sample_candidates(student, QUERIES[:2], 3, by_length, temperature=0.0)
    assert [texts[0] for texts in found.texts_PG] == ["sofa", "freezer"]
    assert all(len(texts) >= 3 for texts in found.texts_PG)


def test_candidates_survive_a_parquet_round_trip(tmp_path):
    rewards = np.array([[0.5, NAN, NAN], [0.1, -0.2, NAN]], np.float32)
    candidates = ScoredCandidates(("couch", "röd"), (("",), ("a b", "", "c")), rewards)
    candidates.save(tmp_path / "candidates.parquet")
    back = ScoredCandidates.load(tmp_path / "candidates.parquet")
    assert (back.queries, back.texts_PG) == (candidates.queries, candidates.texts_PG)
    np.testing.assert_array_equal(back.rewards_PG, candidates.rewards_PG)
    candidates.save(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "candidates.parquet").read_bytes()


def test_a_list_is_the_best_the_worst_and_evenly_spaced_ranks():
    texts, rewards = [str(i) for i in range(9)], np.array([4, 0, 8, 3, 1, 7, 2, 6, 5]) / 10
    chosen = {n: [int(10 * rewards[i]) for i in select_contrast(texts, rewards, n)] for n in (2, 3, 4, 5)}
    assert chosen == {2: [8, 0], 3: [8, 4, 0], 4: [8, 5, 3, 0], 5: [8, 6, 4, 2, 0]}


def test_the_shortest_of_tied_candidates_is_preferred():
    texts, rewards = ["long one", "x y", "", "bad", "worse"], np.array([0.0, 0.0, 0.0, -0.1, NAN])
    assert [texts[i] for i in select_contrast(texts, rewards, 2)] == ["", "bad"]
    assert [texts[i] for i in select_contrast(texts, rewards, 3)] == ["", "x y", "bad"]
    assert [texts[i] for i in select_contrast(texts, rewards, 5)] == ["", "x y", "long one", "bad"]
    order = [3, 1, 4, 0, 2]
    shuffled = [texts[i] for i in order]
    assert [shuffled[i] for i in select_contrast(shuffled, rewards[order], 3)] == ["", "x y", "bad"]


@pytest.mark.parametrize("rewards", [[0.2, 0.2, NAN], [NAN, NAN, NAN], [NAN, 0.3, NAN]])
def test_tied_candidates_make_no_list(rewards):
    assert select_contrast(["a", "b", "c"], np.array(rewards), 4) == []


def mean_logprobs(student, query, texts):
    """Length-normalised log-probability of each text, the end token included, from plain forward passes."""
    prompt = prompt_ids(student.tokenizer, [query])[0]
    means = []
    for tokens in completion_ids(student.tokenizer, texts):
        logits = student.model(input_ids=torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
        means.append(torch.log_softmax(logits, -1)[range(len(tokens)), tokens].mean().item())
    return means


def test_alignment_learns_the_order_of_rewards_and_abstention():
    student, rewards = copy_of(small_student()), np.array([[0.3, 0.1, 0.2, -0.1, 0.0]] * 4, np.float32)
    rewards[3] = [-0.3, -0.2, -0.4, -0.1, 0.0]  # here keeping the query is best
    candidates = ScoredCandidates(TEXTS, (OPTIONS,) * 4, rewards)
    config = PROConfig(contrast=5, learning_rate=5e-3, epochs=30, scale=10.0, strength=5.0)
    metrics = align(student, candidates, config, seed=0)
    assert metrics["before/accuracy"] < 0.7 < 0.9 < metrics["accuracy"]
    assert metrics["pro_loss"] < metrics["before/pro_loss"]
    assert metrics["sft_loss"] < metrics["before/sft_loss"]
    assert (metrics["lists"], metrics["skipped"]) == (4, 0)
    assert np.argmax(mean_logprobs(student, "red", OPTIONS)) == 4
    assert np.argmax(mean_logprobs(student, "couch", OPTIONS)) == 0


def test_the_first_loss_equals_plain_forward_passes():
    """What `align` measures before learning, against the formula on log-probabilities taken one text at a time."""
    student, candidates = small_student(), some_candidates()
    metrics = align(copy_of(student), candidates, PROConfig(contrast=3, epochs=1))
    texts, rewards = ["sofa settee", "freezer", "blue"], [0.3, 0.1, -0.1]
    assert [OPTIONS[i] for i in select_contrast(OPTIONS, candidates.rewards_PG[0], 3)] == [
        "sofa settee",
        "freezer",
        "blue",
    ]
    total = 0.0
    for query in TEXTS:
        p = mean_logprobs(student, query, texts)
        for k in range(2):
            mine = math.exp(p[k] * max(rewards[k] - r for r in rewards[k + 1 :]))
            others = sum(math.exp(p[i] * (rewards[k] - rewards[i])) for i in range(k + 1, 3))
            total -= math.log(mine / (mine + others))
    assert metrics["before/pro_loss"] == pytest.approx(total / 4, abs=1e-5)


def test_tied_lists_are_skipped_counted_and_change_nothing():
    student, candidates = small_student(), some_candidates([0.1, 0.1, 0.1, NAN, 0.1])
    before = copy.deepcopy(student.model)
    assert align(student, candidates) == {"lists": 0.0, "skipped": 4.0}
    assert same_weights(student.model, before)


def test_the_same_seed_gives_the_same_student():
    students = [copy_of(small_student()) for _ in range(3)]
    config = PROConfig(epochs=2, batch_size=2, learning_rate=1e-3)
    metrics = [
        align(student, some_candidates(), config, seed=seed) for student, seed in zip(students, (0, 0, 1), strict=True)
    ]
    assert metrics[0] == metrics[1] != metrics[2]
    assert same_weights(students[0].model, students[1].model)


def test_only_the_best_is_imitated_with_gold_best():
    results = {}
    for gold in ("all", "best"):
        student = copy_of(small_student())
        align(student, some_candidates(), PROConfig(gold=gold, strength=0.0, learning_rate=5e-3, epochs=20))
        results[gold] = mean_logprobs(student, "couch", ["sofa settee", "blue"])
    assert results["best"][0] > results["all"][0]
    assert results["best"][1] < results["all"][1]


def test_a_contrast_outside_the_papers_range_is_refused():
    with pytest.raises(ConfigError, match="contrast 6"):
        PROConfig(contrast=6)
