"""`tiny`: an ordinary Hugging Face causal LM of at most 8 M parameters, pretrained on the shop's own text.

So small that online learning can be watched on two cores. It gets its own byte-level BPE and reads, in one or two
minutes: titles, queries, query–title pairs (what people who typed this bought), and denoising (a damaged query and
the words that it lacks, in the student's own prompt). It knows no word that the shop never wrote: for that there is
`smollm2-135m`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.prompt import completion_ids, prompt_ids, prompt_text
from agents.sft import fine_tune
from qr_env.shop import Shop

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = 4096
END = "<|end|>"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def train_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A lower-casing byte-level BPE of `VOCABULARY` tokens over the shop's text; no input is out of vocabulary."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, pad_token=END, padding_side="left")


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int, hidden: int = 192, layers: int = 3) -> PreTrainedModel:
    """An untrained Llama of about 2 M parameters; the embedding is tied, since the vocabulary is half of the model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def pretraining_sequences(
    shop: Shop, tokenizer: PreTrainedTokenizerFast, n: int, seed: int, max_tokens: int = 48
) -> list[dict[str, Any]]:
    """`n` sequences (`input_ids`, `labels`) of the shop's own text, only from products and the train split.

    Two fifths query → words of a bought title, two fifths damaged words → the words meant, a fifth plain titles.
    """
    rng = np.random.default_rng(seed)
    pairs = bought_titles(shop)
    known_words = [word for title in shop.titles for word in re.findall(r"[^\W\d_]{4,}", title.lower())]
    rows: list[tuple[str, str]] = []
    for _ in range(2 * n // 5 if pairs else 0):
        query, title = pairs[rng.integers(len(pairs))]
        rows.append((query, title.lower()))
    for _ in range(2 * n // 5):
        words = [known_words[i] for i in rng.integers(len(known_words), size=rng.integers(1, 4))]
        damaged = int(rng.integers(len(words)))
        rows.append((" ".join([*words[:damaged], damage(words[damaged], rng), *words[damaged + 1 :]]), words[damaged]))
    pieces = list(zip(*_ids(tokenizer, rows), strict=True))
    sequences = [_masked(prompt, completion, max_tokens) for prompt, completion in pieces]
    titles = [shop.titles[i] for i in rng.integers(len(shop.titles), size=n - len(rows))]
    for ids in tokenizer(titles, add_special_tokens=False)["input_ids"]:
        sequences.append({"input_ids": ids[:max_tokens], "labels": ids[:max_tokens]})
    rng.shuffle(sequences)
    return [row for row in sequences if len(row["input_ids"]) > 1]


def pretrain_tiny(shop: Shop, n: int, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, dict[str, float]]:
    """Tokenizer and model made and pretrained on `n` sequences of the shop's own text; and what `fine_tune` reports."""
    texts = [*shop.titles, *(prompt_text(query.text) for query in shop.split("train"))]
    tokenizer = train_tokenizer(texts)
    model = new_model(tokenizer, seed)
    sequences = pretraining_sequences(shop, tokenizer, n, seed)
    result = fine_tune(
        model, tokenizer, sequences, learning_rate=3e-3, batch_size=64, seed=seed, description="pretrain tiny"
    )
    return model, tokenizer, result


def _ids(tokenizer: Any, rows: Sequence[tuple[str, str]]) -> tuple[list[list[int]], list[list[int]]]:
    return prompt_ids(tokenizer, [row[0] for row in rows]), completion_ids(tokenizer, [row[1] for row in rows])


def _masked(prompt: list[int], completion: list[int], max_tokens: int) -> dict[str, Any]:
    """Prompt and completion as one sequence. The prompt counts too: the shopper's language is worth modelling."""
    ids = (prompt + completion)[:max_tokens]
    return {"input_ids": ids, "labels": ids}


def bought_titles(shop: Shop) -> list[tuple[str, str]]:
    """(query, title of a product bought for it) for every purchase of the train split."""
    text_of = {query.id: query.text for query in shop.split("train")}
    queries = shop.purchases["query_id"].to_pylist()
    products = shop.purchases["product_id"].to_pylist()
    return [
        (text_of[query], shop.titles[shop.product_row[product]])
        for query, product in zip(queries, products, strict=True)
        if query in text_of
    ]


def damage(word: str, rng: np.random.Generator) -> str:
    """The word as a hurried thumb writes it: one letter dropped, doubled, swapped with the next, or replaced."""
    at = int(rng.integers(len(word) - 1)) if len(word) > 1 else 0
    kind = int(rng.integers(4))
    if kind == 0 and len(word) > 2:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[: at + 1] + word[at:]
    if kind == 2 and len(word) > 1:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + LETTERS[int(rng.integers(26))] + word[at + 1 :]
