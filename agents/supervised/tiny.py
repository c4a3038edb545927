"""`tiny`: an ordinary Hugging Face causal LM of at most 8 M parameters, pretrained on the shop's own text.

With 0.9 M parameters it learns online on two CPU cores. It is made in three steps, one or two minutes in all:

1. a byte-level BPE tokenizer over titles and queries;
2. word vectors: a singular value decomposition of the co-occurrence of tokens, in titles and in queries joined with
   bought titles, initializes the (tied) embedding, so that "couch" starts near "sofa". From random vectors a
   transformer needs thousands of steps to learn this: 400 steps closed 41 % of the headroom with the decomposition;
   without it the rewrites were worse than the queries (runs/LOG.md);
3. supervised training with the student's own prompt: query, half of the time with a typo → the distinctive words of
   bought titles; and denoising: words with one damaged → the damaged word, corrected.

It knows only words of the shop's own text; `smollm2-135m` knows others.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import eigsh
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from agents.policy.prompt import prompt_text
from agents.query_log.word_model import distinctive_words, word_model
from agents.suggestions.suggester import Offer, Suggester
from agents.supervised.sft import TokenSequence, fine_tune, prompted_sequences, response_sequences
from qr_env.language.scripts import LATIN, UNSPACED, clusters, script
from qr_env.shop.shop import Shop
from qr_env.synthetic.typos import typo_variant

VOCABULARY = 4096
END = "<|end|>"
EMBEDDING_STD = 0.05
TARGET_WORDS = 5  # most words of a pretraining target
LEARNING_RATE, WIDTH = 3e-3, 128  # the learning rate for this hidden width
TYPO_SHARE = 0.5  # of the pretraining queries
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def train_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A lower-casing byte-level BPE tokenizer of `VOCABULARY` tokens; it can encode any input."""
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


def new_model(tokenizer: PreTrainedTokenizerBase, seed: int, hidden: int = 128, layers: int = 2) -> PreTrainedModel:
    """An untrained Llama of about 0.9 M parameters, half of them in the embedding, which is tied to the output."""
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
    """Token vectors from co-occurrence in texts, (vocabulary, hidden) float32 with standard deviation `EMBEDDING_STD`.

    Positive pointwise mutual information of two tokens in one text, factorized by a truncated SVD (Levy & Goldberg
    2014, "Neural Word Embedding as Implicit Matrix Factorization"). Tokens in no text get random vectors.
    """
    rows = [sorted(set(ids)) for ids in ids_of_texts]
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.fromiter((i for row in rows for i in row), np.int32, count=int(indptr[-1]))
    texts = sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), vocabulary))
    counts = np.asarray(texts.sum(axis=0), np.float64).ravel()
    both = (texts.T @ texts).tocoo()
    information = np.log(both.data * len(rows) / (counts[both.row] * counts[both.col]))
    positive = information > 0
    matrix = sp.csr_matrix((information[positive], (both.row[positive], both.col[positive])), shape=both.shape)
    rank = min(hidden, vocabulary - 1)
    # The matrix is symmetric, so its singular vectors are its eigenvectors; eigsh takes a seed for its restarts.
    values, left = eigsh(matrix, k=rank, rng=seed)
    noise = np.random.default_rng(seed).normal(size=(vocabulary, hidden))
    vectors = noise * 0.01
    vectors[:, :rank] += left * np.sqrt(np.abs(values))
    vectors[counts == 0] = noise[counts == 0] * vectors[counts > 0].std()
    return (vectors * (EMBEDDING_STD / vectors.std())).astype(np.float32)


def pretraining_pairs(shop: Shop, n: int, seed: int) -> list[tuple[str, str]]:
    """`n` (query text, target) pairs of the shop's own text; only products and the train split are read.

    Three quarters: query → up to `TARGET_WORDS` distinctive words of the titles bought for it; one quarter denoising.
    """
    rng = np.random.default_rng(seed)
    train = shop.split("train")
    words_of_train = distinctive_words(word_model(shop, train), train, TARGET_WORDS)
    known = [(query.text, " ".join(words)) for query, words in zip(train, words_of_train, strict=True) if words]
    pairs = [known[i] for i in rng.integers(len(known), size=3 * n // 4)] if known else []
    typos = random.Random(seed)
    pairs = [
        (typo_variant(text, typos), words) if typos.random() < TYPO_SHARE else (text, words) for text, words in pairs
    ]
    pairs += _denoising_pairs(shop.titles, n - len(pairs), rng)
    return [pairs[i] for i in rng.permutation(len(pairs))]


def pretraining_sequences(
    tokenizer: PreTrainedTokenizerBase, shop: Shop, n: int, seed: int, suggester: Suggester | None
) -> list[TokenSequence]:
    """`n` sequences of `pretraining_pairs`.

    For a student that sees suggestions only half of them are, and none where nothing was bought: the rest imitates
    `suggest` on train queries.
    """
    if suggester is None:
        return response_sequences(tokenizer, pretraining_pairs(shop, n, seed))
    own_words = n // 2 if bought_pairs(shop) else 0
    pairs = [(prompt_text(query, Offer()), words) for query, words in pretraining_pairs(shop, own_words, seed)]
    pairs += imitation_pairs(shop, n - own_words, seed, suggester)
    return prompted_sequences(tokenizer, pairs)


def imitation_pairs(shop: Shop, n: int, seed: int, suggester: Suggester) -> list[tuple[str, str]]:
    """`n` (prompt, what `suggest` chooses) of train queries, each at most once more often than any other."""
    texts = [query.text for query in shop.split("train")]
    rng = np.random.default_rng(seed)
    rounds = [rng.permutation(len(texts)) for _ in range(-(-n // len(texts)))] if texts else []
    drawn = [texts[place] for order in rounds for place in order.tolist()][:n]
    return [(prompt_text(text, offer), offer.usual) for text, offer in zip(drawn, suggester.offers(drawn), strict=True)]


def _denoising_pairs(titles: Sequence[str], n: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """`n` pairs: one to three words of the titles, one of them damaged → that word, undamaged."""
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
    tokenizer: PreTrainedTokenizerBase | None = None,
    suggester: Suggester | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, float]]:
    """A model and its tokenizer, pretrained on `n` pairs of the shop's own text, and the figures of `fine_tune`.

    Args:
        shop: its products and train split are read.
        n: number of training pairs.
        seed: of weights and pairs.
        hidden: width, a multiple of 32.
        layers: depth; 256 wide and 3 deep it is a teacher of 3.4 M parameters.
        tokenizer: another model's, for distillation token by token (`agents/supervised/distill.py`); None trains one,
            which depends on the shop and the suggester alone.
        suggester: of a student that sees suggestions: tokenizer and model are trained on its prompts.
    """
    if tokenizer is None:
        tokenizer = train_tokenizer([*shop.titles, *train_prompts(shop, suggester)])
    model = new_model(tokenizer, seed, hidden, layers)
    texts = [*shop.titles, *(f"{query} {title}" for query, title in bought_pairs(shop))]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        vectors = token_vectors(ids, len(tokenizer), model.config.hidden_size, seed)
        model.get_parameter("model.embed_tokens.weight").copy_(torch.from_numpy(vectors))
    sequences = pretraining_sequences(tokenizer, shop, n, seed, suggester)
    # The learning rate falls in proportion to the width (Yang et al. 2022, "Tensor Programs V").
    rate = LEARNING_RATE * min(1.0, WIDTH / hidden)
    result = fine_tune(
        model, tokenizer, sequences, learning_rate=rate, batch_size=64, seed=seed, description="pretrain tiny"
    )
    return model, tokenizer, result


def train_prompts(shop: Shop, suggester: Suggester | None) -> list[str]:
    """The student's prompt for every train query."""
    texts = [query.text for query in shop.split("train")]
    return (
        list(map(prompt_text, texts)) if suggester is None else list(map(prompt_text, texts, suggester.offers(texts)))
    )


def bought_pairs(shop: Shop) -> list[tuple[str, str]]:
    """(query, title of a product bought for it) for every purchase of the train split."""
    rows = (part.tolist() for part in shop.purchase_rows(split="train"))
    return [(shop.all_queries[query].text, shop.titles[product]) for query, product in zip(*rows, strict=True)]


def damage(word: str, rng: np.random.Generator) -> str:
    """The word with one typo: a letter dropped, doubled, swapped with the next one, or replaced by a Latin one.

    Letters of other scripts are not replaced, ideographs not doubled; marks stay with their letter.
    """
    letters = clusters(word)
    at = int(rng.integers(len(letters) - 1)) if len(letters) > 1 else 0
    kind = int(rng.integers(4))
    before, letter, after = letters[:at], letters[at : at + 1], letters[at + 1 :]
    if kind == 1 and UNSPACED.match(word):
        kind = 2
    if kind == 0 and len(letters) > 2:
        return "".join([*before, *after])
    if kind == 1:
        return "".join([*before, *letter, *letter, *after])
    if kind == 2 and len(letters) > 1:
        return "".join([*before, after[0], *letter, *after[1:]])
    if script(letter[0][0] if letter else "") not in ("", LATIN):
        return word
    return "".join([*before, LETTERS[int(rng.integers(26))], *after])
