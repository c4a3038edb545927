"""`tiny`: its size, the data that it reads, and its pretraining."""

from dataclasses import replace

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from agents.policy.prompt import prompt_text
from agents.supervised.tiny import (
    EMBEDDING_STD,
    bought_pairs,
    damage,
    imitation_pairs,
    new_model,
    pretrain_tiny,
    pretraining_pairs,
    pretraining_sequences,
    token_vectors,
    train_prompts,
    train_tokenizer,
)
from tests.helpers.fakes import tiny_shop
from tests.helpers.suggestions import word_suggester


def test_it_has_at_most_8_million_parameters():
    tokenizer = train_tokenizer(tiny_shop().titles)
    assert new_model(tokenizer, 0).num_parameters() <= 8_000_000


def test_any_text_survives_a_tokenizer_round_trip():
    tokenizer = train_tokenizer(tiny_shop().titles)
    text = "沙发 ünknown 1.7 l"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_it_reads_purchases_of_train_queries_only():
    shop = tiny_shop()
    train = {query.text for query in shop.split("train")}
    pairs = bought_pairs(shop)
    assert pairs
    assert {query for query, _ in pairs} <= train


def test_pretraining_pairs_hold_no_test_query_and_map_couch_to_sofa():
    pairs = pretraining_pairs(tiny_shop(), 500, seed=0)
    assert len(pairs) == 500
    assert pairs == pretraining_pairs(tiny_shop(), 500, seed=0)
    assert any(text == "couch" and "sofa" in answer.split() for text, answer in pairs)
    assert not any("icebox" in text for text, _ in pairs)


def test_tokens_that_co_occur_get_near_vectors_reproducibly():
    texts = [[1, 2], [1, 2], [1, 2, 5], [3, 4], [3, 4], [3, 4, 5]] * 3
    vectors = token_vectors(texts, 8, 4, seed=0)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit[1] @ unit[2] > 0.9 > unit[1] @ unit[3] + 0.5
    assert np.array_equal(vectors, token_vectors(texts, 8, 4, seed=0))
    assert abs(vectors.std() - EMBEDDING_STD) < 1e-3
    assert np.isfinite(vectors).all()


def test_damage_makes_one_typo_and_is_seeded():
    words = [damage("refrigerator", np.random.default_rng(seed)) for seed in range(50)]
    assert words == [damage("refrigerator", np.random.default_rng(seed)) for seed in range(50)]
    assert len(set(words)) > 20
    assert all(abs(len(word) - len("refrigerator")) <= 1 for word in words)


def test_pretraining_learns_and_is_reproducible():
    shop = tiny_shop()
    model, _, result = pretrain_tiny(shop, 640, seed=0)
    again, _, _ = pretrain_tiny(shop, 640, seed=0)
    assert result["train_loss"] < 5.5  # log(vocabulary) and above is where an untrained model stands
    assert all(bool((a == b).all()) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_larger_teacher_shares_the_small_ones_tokenizer():
    shop = tiny_shop()
    _, tokenizer, _ = pretrain_tiny(shop, 32, seed=0, hidden=32, layers=1)
    teacher, shared, _ = pretrain_tiny(shop, 32, seed=1, hidden=64, layers=3, tokenizer=tokenizer)
    assert shared is tokenizer
    assert (teacher.config.hidden_size, teacher.config.num_hidden_layers) == (64, 3)
    assert teacher.config.vocab_size == len(tokenizer)
    own = train_tokenizer([*shop.titles, *(prompt_text(query.text) for query in shop.split("train"))])
    assert own.get_vocab() == tokenizer.get_vocab()  # the same shop's, even where it was trained twice


def test_a_teacher_of_256_and_3_has_3_to_4_million_parameters():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE()), eos_token="x", pad_token="x")
    tokenizer.add_tokens([f"t{i}" for i in range(4095)])
    assert 3_000_000 < new_model(tokenizer, 0, 256, 3).num_parameters() < 4_000_000


def test_a_student_that_sees_suggestions_is_pretrained_to_choose_as_suggest_does():
    shop = tiny_shop()
    texts = [query.text for query in shop.split("train")]
    suggester = word_suggester({text: ["sofa", "lamp"] for text in texts[:2]})
    pairs = imitation_pairs(shop, len(texts) + 1, 0, suggester)
    assert len(pairs) == len(texts) + 1 and len(set(pairs)) == len(texts)
    assert dict(pairs)[prompt_text(texts[0], suggester.offers(texts[:1])[0])] == "1 2"
    tokenizer = train_tokenizer([*shop.titles, *train_prompts(shop, suggester)])
    own = pretraining_sequences(tokenizer, shop, 40, 0, suggester)
    without_log = replace(shop, purchases=shop.purchases.slice(0, 0))
    rows = pretraining_sequences(tokenizer, without_log, 40, 0, suggester)
    decoded = [tokenizer.decode(row["input_ids"]) for row in rows]
    assert len(own) == len(decoded) == 40
    assert {text.split("rewrite:")[1].removesuffix("<|end|>") for text in decoded} == {"", " 1 2"}
