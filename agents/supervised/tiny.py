"""`tiny`: an ordinary Hugging Face causal LM of at most 8 M parameters, pretrained on the shop's own text.

So small (0.9 M parameters) that online learning can be watched on two cores. Three steps, a minute or two in all:

1. its own byte-level BPE over titles and queries;
2. word vectors: a singular value decomposition of which tokens go together in titles, and in queries with what was
   bought for them, becomes the (tied) embedding, so that "couch" begins next to "sofa". Trained from noise, a
   transformer spends its first thousands of steps on finding that out; measured here, 400 steps closed 41 % of the
   headroom with the decomposition and less than nothing without (runs/LOG.md);
3. ordinary training in the student's own prompt: query, half of the time with a slip of the keyboard → the telling
   words of what was bought, and denoising: damaged words → the word that was meant.

It knows no word that the shop never wrote: for that there is `smollm2-135m`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from agents.policy.prompt import prompt_text
from agents.query_log.word_model import distinctive_words, word_model
from agents.supervised.sft import fine_tune, response_sequences
from qr_env.shop.shop import Shop
from qr_env.synthetic.typos import typo_variant

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = 4096
END = "<|end|>"
EMBEDDING_STD = 0.05
TELLING = 5
LEARNING_RATE, WIDTH = 3e-3, 128  # the rate, and the width that it is for
SLIPPED = 0.5  # of the queries that it reads are mistyped
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


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int, hidden: int = 128, layers: int = 2) -> PreTrainedModel:
    """An untrained Llama of about 0.9 M parameters; the embedding, half of them, is tied to the output."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=max(hidden // 32, 1),
        num_key_value_heads=max(hidden // 32, 1),
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def token_vectors(ids_of_texts: Sequence[Sequence[int]], vocabulary: int, hidden: int, seed: int) -> np.ndarray:
    """Vectors of the tokens from the texts that they share, (vocabulary, hidden) float32, deviation `EMBEDDING_STD`.

    Positive pointwise mutual information of two tokens in one text, factorised by a truncated SVD (Levy & Goldberg
    2014, "Neural Word Embedding as Implicit Matrix Factorization"). Tokens that are in no text get noise.
    """
    import scipy.sparse as sp
    from scipy.sparse.linalg import eigsh

    rows = [sorted(set(ids)) for ids in ids_of_texts]
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.fromiter((i for row in rows for i in row), np.int32, count=int(indptr[-1]))
    texts = sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), vocabulary))
    counts = np.asarray(texts.sum(axis=0), np.float64).ravel()
    both = (texts.T @ texts).tocoo()
    information = np.log(both.data * len(rows) / (counts[both.row] * counts[both.col]))
    kept = information > 0
    matrix = sp.csr_matrix((information[kept], (both.row[kept], both.col[kept])), shape=both.shape)
    rank = min(hidden, vocabulary - 1)
    # The matrix is symmetric: its singular vectors are eigenvectors, and eigsh takes a seed for its restarts.
    values, left = eigsh(matrix, k=rank, rng=seed)
    noise = np.random.default_rng(seed).normal(size=(vocabulary, hidden))
    vectors = noise * 0.01
    vectors[:, :rank] += left * np.sqrt(np.abs(values))
    vectors[counts == 0] = noise[counts == 0] * vectors[counts > 0].std()
    return (vectors * (EMBEDDING_STD / vectors.std())).astype(np.float32)


def pretraining_pairs(shop: Shop, n: int, seed: int) -> list[tuple[str, str]]:
    """`n` (prompted text, answer) pairs of the shop's own text: only products and the train split are read.

    Three quarters query → the `TELLING` title words that set what was bought for it apart; a quarter denoising.
    """
    rng = np.random.default_rng(seed)
    train = shop.split("train")
    told = list(
        zip([query.text for query in train], distinctive_words(word_model(shop, train), train, TELLING), strict=True)
    )
    told_N = [(text, " ".join(words)) for text, words in told if words]
    pairs = [told_N[i] for i in rng.integers(len(told_N), size=3 * n // 4)] if told_N else []
    slips = random.Random(seed)
    pairs = [(typo_variant(text, slips), words) if slips.random() < SLIPPED else (text, words) for text, words in pairs]
    pairs += _damaged(shop.titles, n - len(pairs), rng)
    return [pairs[i] for i in rng.permutation(len(pairs))]


def _damaged(titles: Sequence[str], n: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """`n` pairs: one to three words of the shop, one of them damaged → that word."""
    words = [word for title in titles for word in re.findall(r"[^\W\d_]{4,}", title.lower())]
    pairs = []
    for _ in range(n if words else 0):
        chosen = [words[i] for i in rng.integers(len(words), size=rng.integers(1, 4))]
        at = int(rng.integers(len(chosen)))
        pairs.append((" ".join([*chosen[:at], damage(chosen[at], rng), *chosen[at + 1 :]]), chosen[at]))
    return pairs


def pretrain_tiny(
    shop: Shop,
    n: int,
    seed: int,
    hidden: int = 128,
    layers: int = 2,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, dict[str, float]]:
    """Tokenizer and model made and pretrained on `n` pairs of the shop's own text; and what `fine_tune` reports.

    Args:
        hidden, layers: width, a multiple of 32, and depth; 256 and 3 make a teacher of 3.4 M parameters.
        tokenizer: another model's, so that the two can be compared token by token (`agents/supervised/distill.py`); None trains
            one, the same for the same shop.
    """
    import torch

    if tokenizer is None:
        tokenizer = train_tokenizer([*shop.titles, *(prompt_text(query.text) for query in shop.split("train"))])
    model = new_model(tokenizer, seed, hidden, layers)
    texts = [*shop.titles, *(f"{query} {title}" for query, title in bought_pairs(shop))]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        vectors = token_vectors(ids, len(tokenizer), model.config.hidden_size, seed)
        model.get_parameter("model.embed_tokens.weight").copy_(torch.from_numpy(vectors))
    sequences = response_sequences(tokenizer, pretraining_pairs(shop, n, seed))
    # A wider model takes shorter steps, in proportion to its width (Yang et al. 2022, "Tensor Programs V").
    rate = LEARNING_RATE * min(1.0, WIDTH / hidden)
    result = fine_tune(
        model, tokenizer, sequences, learning_rate=rate, batch_size=64, seed=seed, description="pretrain tiny"
    )
    return model, tokenizer, result


def bought_pairs(shop: Shop) -> list[tuple[str, str]]:
    """(query, title of a product bought for it) for every purchase of the train split."""
    rows = (part.tolist() for part in shop.purchase_rows(split="train"))
    return [(shop.all_queries[query].text, shop.titles[product]) for query, product in zip(*rows, strict=True)]


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
