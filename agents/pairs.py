"""Warm-start pairs from the shop's own log: candidates built from what people bought, kept when they beat the query.

The rewrites that a log suggests are the title words of what was bought for the query itself, and those that go with
its words in other queries ("couch" was bought as "sofa"). BEQUE's rejection sampling (arXiv 2311.03758 §3.1) then
keeps, for each query, the candidate that the engine and the judge pay best, or teaches to leave the query alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from qr_env import tokenize
from qr_env.shop import Shop
from qr_env.simulator import Simulator
from qr_env.types import FloatArray, Query

# (queries, their candidates) → rewards; P × C, NaN where there is no candidate or no verdict.
Scorer = Callable[[Sequence[Query], Sequence[Sequence[str]]], FloatArray]

WORD = re.compile(r"[^\W_]+")
STOP = frozenset(
    ["a", "an", "and", "by", "for", "from", "in", "no", "not", "of", "on", "or", "the", "to", "with", "without"]
)
NEGATIONS = frozenset(["no", "not", "without"])


@dataclass(frozen=True)
class WordModel:
    """What bought titles say about queries. `query_words_Q`, `title_words_T`: vocabularies, word → column.

    bought_N_T: (queries, title words) share of a query's bought titles that hold the word. given_Q_T: (query words,
    title words) the same for all queries that hold a query word. common_T: share of all titles with the word.
    row_of: query id → N.
    """

    query_words_Q: dict[str, int]
    title_words_T: dict[str, int]
    bought_N_T: sp.csr_matrix
    given_Q_T: sp.csr_matrix
    common_T: FloatArray
    row_of: dict[str, int]


def words_of(text: str) -> list[str]:
    """Lower-case words of a text, in order, each once, without stop words."""
    return [word for word in dict.fromkeys(WORD.findall(text.lower())) if word not in STOP]


def _incidence(texts: Sequence[str]) -> tuple[sp.csr_matrix, dict[str, int]]:
    """(texts, words) 0/1 matrix and word → column."""
    column: dict[str, int] = {}
    rows = [[column.setdefault(word, len(column)) for word in words_of(text)] for text in texts]
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.fromiter((i for row in rows for i in row), np.int32, count=int(indptr[-1]))
    matrix = sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), max(len(column), 1)))
    return matrix, column


def _row_shares(counts: sp.csr_matrix, totals: FloatArray) -> sp.csr_matrix:
    return sp.diags(1.0 / np.maximum(totals, 1.0)).dot(counts).tocsr().astype(np.float32)


def word_model(shop: Shop, queries: Sequence[Query]) -> WordModel:
    """Count which title words are bought for which queries and query words; only `queries`' own purchases are read."""
    row_of = {query.id: i for i, query in enumerate(queries)}
    pairs = [
        (row_of[query], shop.product_row[product])
        for query, product in zip(
            shop.purchases["query_id"].to_pylist(), shop.purchases["product_id"].to_pylist(), strict=True
        )
        if query in row_of
    ]
    bought = np.array(pairs, np.int64).reshape(-1, 2)
    titles, title_words = _incidence(shop.titles)
    texts, query_words = _incidence([query.text for query in queries])
    ones = np.ones(len(bought), np.float32)
    bought_N_P = sp.csr_matrix((ones, (bought[:, 0], bought[:, 1])), shape=(len(queries), len(shop.titles)))
    counts_N_T = (bought_N_P @ titles).tocsr()
    totals_N = np.asarray(bought_N_P.sum(axis=1), np.float32).ravel()
    counts_Q_T, totals_Q = (texts.T @ counts_N_T).tocsr(), texts.T @ totals_N
    document_share_T = np.asarray(titles.sum(axis=0)).ravel() / max(len(shop.titles), 1)
    common_T = np.maximum(document_share_T, 1e-6).astype(np.float32)
    return WordModel(
        query_words, title_words, _row_shares(counts_N_T, totals_N), _row_shares(counts_Q_T, totals_Q), common_T, row_of
    )


def candidates(model: WordModel, queries: Sequence[Query], most: int = 3, rarest: float = 0.0) -> list[list[str]]:
    """Rewrites (words to add) that the log suggests for queries that `model` was made from.

    A word is worth share × log(share / share in all titles), what it adds to the divergence of the bought titles from
    the shop's. The best `most` words of the query's own purchases, of its words' purchases, and of both: each alone,
    and the best two … `most` together. Words in a smaller share of all titles than `rarest` are no words but names of
    single products, and are left out.
    """
    names = np.array(list(model.title_words_T))
    texts_N_Q, _ = _known_incidence([query.text for query in queries], model.query_words_Q)
    length_N = np.maximum(np.asarray(texts_N_Q.sum(axis=1), np.float32).ravel(), 1.0)
    around_N_T = _row_shares(texts_N_Q @ model.given_Q_T, length_N)
    results = []
    for i, query in enumerate(queries):
        own, around = model.bought_N_T[model.row_of[query.id]], around_N_T[i]
        parts = own, around, own + around
        ranked = [_best_words(part, model.common_T, names, query.text, most, rarest) for part in parts]
        texts = [" ".join(words[:length]) for words in ranked for length in range(2, len(words) + 1)]
        texts += [word for words in ranked for word in words]
        results.append(list(dict.fromkeys(texts)))
    return results


def telling_words(model: WordModel, queries: Sequence[Query], most: int) -> list[list[str]]:
    """For each of the queries that `model` was made from, up to `most` title words that set its purchases apart.

    A word must be in half of the bought titles. Words that the query has already are
    among them: they say what it is about.
    """
    names = np.array(list(model.title_words_T))
    common = model.bought_N_T.copy()
    common.data = np.where(common.data >= 0.5, common.data, 0.0).astype(np.float32)
    common.eliminate_zeros()
    return [_best_words(common[i], model.common_T, names, "", most) for i in range(len(queries))]


def _known_incidence(texts: Sequence[str], column: dict[str, int]) -> tuple[sp.csr_matrix, dict[str, int]]:
    rows = [[column[word] for word in words_of(text) if word in column] for text in texts]
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.fromiter((i for row in rows for i in row), np.int32, count=int(indptr[-1]))
    shape = (len(rows), max(len(column), 1))
    return sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=shape), column


def _best_words(
    row: sp.csr_matrix, common_T: FloatArray, names: np.ndarray, query: str, most: int, rarest: float = 0.0
) -> list[str]:
    """The title words of one row of shares that set it most apart, without those of the query and too rare ones."""
    worth = row.data * np.log(np.maximum(row.data, 1e-9) / common_T[row.indices])
    present = set(words_of(query))
    ranked = row.indices[np.argsort(-worth, kind="stable")]
    order = ranked[common_T[ranked] >= rarest][: most + len(present)]
    return [word for word in names[order].tolist() if word not in present][:most]


@dataclass(frozen=True)
class WarmPairs:
    """Pairs kept by rejection sampling; `rewrite` "" teaches to leave the query alone. Counts for the log: candidates
    tried; queries rewritten, left alone, and left out because a verdict is missing."""

    pairs: list[tuple[str, str]]
    tried: int
    kept: int
    alone: int
    unjudged: int


FeedbackScorer = Callable[[Sequence[Query], Sequence[Sequence[str]]], dict[str, FloatArray]]
FIGURES = ("reward", "relevance", "increment", "hitrate")


def feedback_scorer(make_simulator: Callable[[int, int], Simulator], chunk: int = 512) -> FeedbackScorer:
    """(queries, their candidates) → `FIGURES` by name, P × C each, as the shop itself gives them.

    They are those of `qr_env.feedback` against the original query; NaN where there is no candidate or no verdict.

    Args:
        make_simulator: (blocks, group_size) → a simulator of one turn; queries go through it `chunk` at a time.
    """

    def score(queries: Sequence[Query], options: Sequence[Sequence[str]]) -> dict[str, FloatArray]:
        from tqdm import tqdm

        width = max(map(len, options), default=0)
        known = {name: np.full((len(queries), width), np.nan, np.float32) for name in FIGURES}
        starts = range(0, len(queries) if width else 0, chunk)
        for start in tqdm(starts, desc="score candidates", leave=False, disable=len(starts) < 2):
            part, texts = queries[start : start + chunk], options[start : start + chunk]
            simulator = make_simulator(len(part), width)
            simulator.reset(part)
            step = simulator.step([text for row in texts for text in [*row, *[""] * (width - len(row))]])
            there_P_C = np.arange(width) < np.array([len(row) for row in texts])[:, None]
            for name, values_P_C in known.items():
                found_N = step.rewards_N if name == "reward" else getattr(step.figures, name)
                values_P_C[start : start + chunk][there_P_C] = found_N.reshape(len(part), width)[there_P_C]
        return known

    return score


def simulator_scorer(make_simulator: Callable[[int, int], Simulator], chunk: int = 512) -> Scorer:
    """The rewards alone of `feedback_scorer`, P × C."""
    score = feedback_scorer(make_simulator, chunk)
    return lambda queries, options: score(queries, options)["reward"]


def in_mode(query: str, rewrite: str, combine: str) -> str:
    """A rewritten query as the student must write it: in "expand" the words that the query lacks, else the whole.

    Words are compared by their stems, and none behind a "no", "not" or "without" is added: an engine that adds words
    cannot take them away. "" where the rewrite is the query, or has nothing to add.
    """
    own = set(tokenize.terms(query))
    if combine != "expand":
        return "" if own == set(tokenize.terms(rewrite)) else " ".join(rewrite.split())
    added = []
    for word in map(_bare, rewrite.lower().split()):
        if word in NEGATIONS:
            break
        if word not in STOP and (new := set(tokenize.terms(word)) - own):
            added.append(word)
            own |= new
    return " ".join(added)


def _bare(word: str) -> str:
    """A word without the punctuation around it."""
    return word.strip("\"'`“”’.,;:!?()[]{}*")


def bought_titles(shop: Shop, queries: Sequence[Query]) -> dict[str, list[str]]:
    """Query id → distinct titles of what was bought for it, in the log's order; only `queries`' purchases are read."""
    wanted: dict[str, dict[str, None]] = {query.id: {} for query in queries}
    columns = (shop.purchases[name].to_pylist() for name in ("query_id", "product_id"))
    for query, product in zip(*columns, strict=True):
        if query in wanted:
            wanted[query][shop.titles[shop.product_row[product]]] = None
    return {name: list(titles) for name, titles in wanted.items() if titles}


def rejection_sample(
    queries: Sequence[Query], options: Sequence[Sequence[str]], score: Scorer, min_reward: float = 0.02
) -> WarmPairs:
    """For each query the best-paid candidate, or "" where none is paid more than `min_reward`.

    A query is left alone only where every candidate has a verdict, or there is none to try; else it is left out and
    counted: silence is not evidence that the original is good.
    """
    rewards_P_C = score(queries, options)
    pairs: list[tuple[str, str]] = []
    for query, texts, rewards_C in zip(queries, options, rewards_P_C, strict=True):
        paid = np.nan_to_num(rewards_C[: len(texts)], nan=-np.inf)
        best = int(np.argmax(paid)) if texts else -1
        if best >= 0 and paid[best] > min_reward:
            pairs.append((query.text, texts[best]))
        elif np.isfinite(paid).all():
            pairs.append((query.text, ""))
    alone = sum(not rewrite for _, rewrite in pairs)
    counts = (sum(map(len, options)), len(pairs) - alone, alone, len(queries) - len(pairs))
    return WarmPairs(pairs, *counts)
