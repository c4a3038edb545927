"""Auxiliary training tasks of a student besides rewriting, made from the shop's data and its engine.

    quality   BEQUE: is this a good rewrite? yes / no, from the reward of good and bad candidates
    title     BEQUE: query → the title of a product bought for it
    thought   BEQUE's chain of thought: which words no title has, which words the bought titles have; then the rewrite
    tagging   JD (arXiv 2603.02555): do query and rewrite mean the same? yes / no, from shared Exact products, or from
              the engine's relevance if nothing is graded

Tasks with the answers yes and no have as many examples of each. Hard examples come first: a bad rewrite of a query that
also has a good one, another query that shares words but no product. All draws depend on the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from agents.examples.engine_pairs import Scored
from agents.examples.tasks import NO, YES, Example
from agents.query_log.graph import Counts, Rows, capped, most_similar, query_products, stem_incidence
from agents.query_log.word_model import words_of
from qr_env.common.types import EXACT, GAINS, FloatArray, Query
from qr_env.language.tokenize import Tokenizer
from qr_env.shop.shop import Shop

KEEP = "keep"  # last word of a thought if the original query is best
MIN_SAME = 0.5  # least cosine of the Exact products of two queries that mean the same
MAX_NEIGHBOURS = 8  # queries with common words that are candidates for a "no"


def quality_examples(
    scored: Scored, high: float = 0.02, low: float = 0.0, seed: int = 0
) -> tuple[list[Example], Counts]:
    """Is it a good rewrite: yes if the reward is above `high`, no if it is below `low`.

    At most one of each a query, of the best and the worst candidate; as many yes as no.
    """
    return _yes_no_examples("quality", scored, scored.figures["reward"], high, low, seed)


def relevance_tags(scored: Scored, high: float = 0.7, low: float = 0.2, seed: int = 0) -> tuple[list[Example], Counts]:
    """Do query and rewrite mean the same, by the share of relevant products among the results of the rewrite."""
    return _yes_no_examples("tagging", scored, scored.figures["relevance"], high, low, seed)


def _yes_no_examples(
    task: str, scored: Scored, figure_PG: FloatArray, high: float, low: float, seed: int
) -> tuple[list[Example], Counts]:
    """Yes and no examples of one task from one figure of the candidates."""
    if not figure_PG.size:
        return [], {"yes": 0, "no": 0}
    for_max_PG, for_min_PG = (np.where(np.isnan(figure_PG), fill, figure_PG) for fill in (-np.inf, np.inf))
    yes_P, no_P = for_max_PG.max(axis=1) > high, for_min_PG.min(axis=1) < low
    at = {YES: for_max_PG.argmax(axis=1), NO: for_min_PG.argmin(axis=1)}
    hard_P = yes_P & no_P
    chosen = {YES: _hard_first(yes_P, hard_P, seed), NO: _hard_first(no_P, hard_P, seed)}
    counts = {f"queries with a {answer}": len(rows) for answer, rows in chosen.items()}
    size = min(map(len, chosen.values()))
    counts |= {"kept": 2 * size}
    return [
        _yes_no_example(task, scored, row, int(at[answer][row]), answer)
        for answer, rows in chosen.items()
        for row in rows[:size].tolist()
    ], counts


def _hard_first(mask_P: npt.NDArray[np.bool_], hard_P: npt.NDArray[np.bool_], seed: int) -> Rows:
    """Rows of the mask: the hard ones in order, then the others in random order."""
    others = np.flatnonzero(mask_P & ~hard_P)
    return np.concatenate([np.flatnonzero(mask_P & hard_P), np.random.default_rng(seed).permutation(others)])


def _yes_no_example(task: str, scored: Scored, row: int, column: int, answer: str) -> Example:
    query, text = scored.queries[row], scored.options[row][column]
    example = Example(task, query.text, answer, text, source=f"engine:{scored.agent}", query_id=query.id)
    return scored.with_figures(example, row, column)


def title_examples(titles: Mapping[str, Sequence[str]], queries: Sequence[Query], limit: int = 2) -> list[Example]:
    """Query → title bought for it, up to `limit` a query."""
    return [
        Example("title", query.text, " ".join(title.split()), source="log", query_id=query.id)
        for query in queries
        for title in titles.get(query.id, ())[:limit]
    ]


def thought_examples(
    rewrites: Iterable[Example],
    titles: Mapping[str, Sequence[str]],
    known: frozenset[str],
    tokenizer: Tokenizer,
    max_words: int = 4,
) -> list[Example]:
    """ "thought; rewrite" for rewrites whose query has bought titles.

    The thought lists the query's words that no title of the shop has, and up to `max_words` words that most of the
    bought titles share and the query lacks.

    Args:
        rewrites: examples of the task "rewrite".
        titles: query id → titles bought for it.
        known: stems of all titles (`title_stems`).
        tokenizer: of the shop's language.
        max_words: most words of bought titles in a thought.
    """
    examples = []
    for example in rewrites:
        if bought := titles.get(example.query_id):
            thought = _thought(example.query, bought, known, tokenizer, max_words)
            response = f"{thought}; {example.response or KEEP}"
            examples.append(replace(example, task="thought", response=response, context=()))
    return examples


def _thought(query: str, bought: Sequence[str], known: frozenset[str], tokenizer: Tokenizer, max_words: int) -> str:
    unknown = [word for word in words_of(query, tokenizer) if not known.issuperset(tokenizer.terms(word))]
    own = set(tokenizer.terms(query))
    counts: dict[str, int] = {}
    for word in (word for title in bought for word in words_of(title, tokenizer) if word.isalpha() and len(word) > 2):
        counts[word] = counts.get(word, 0) + 1  # words of letters only: sizes need their units
    shared = [
        word for word, count in counts.items() if 2 * count > len(bought) and not own & set(tokenizer.terms(word))
    ]
    first = f"no title has {' '.join(unknown)}" if unknown else "titles have all words"
    return f"{first}, bought: {' '.join(shared[:max_words])}" if shared else first


def title_stems(shop: Shop) -> frozenset[str]:
    """All stems of the shop's titles."""
    return frozenset(term for title in shop.titles for term in shop.tokenizer.terms(title))


def tagging_examples(
    shop: Shop, queries: Sequence[Query], limit: int = 2, max_queries: int = 1_000, seed: int = 0
) -> tuple[list[Example], Counts]:
    """Do two queries mean the same: yes if the cosine of their Exact products is `MIN_SAME` or more, no if they share
    words but no Exact product. Every pair of queries at most once; as many yes as no.

    Without labels, bought products count as Exact. Shoppers may buy different products for two queries with the same
    meaning, so a "no" is then less reliable.
    """
    gains = query_products(shop, queries)
    exact = sp.csr_matrix((gains.data >= GAINS[EXACT], gains.indices, gains.indptr), gains.shape, dtype=np.float32)
    exact.eliminate_zeros()
    words = _rare_words([query.text for query in queries], shop.tokenizer)
    same, _ = most_similar(capped(exact, max_queries)[0], limit, min_similarity=MIN_SAME)
    near, _ = most_similar(capped(words, max_queries)[0], MAX_NEIGHBOURS, min_similarity=0.1)
    graded_N = np.diff(exact.indptr) > 0
    near = near[graded_N[near.query_N] & graded_N[near.other_N]]
    near = near[np.asarray(exact[near.query_N].multiply(exact[near.other_N]).sum(axis=1)).ravel() == 0]
    found = {answer: _unordered_pairs(pairs.query_N, pairs.other_N) for answer, pairs in ((YES, same), (NO, near))}
    counts = {f"pairs with a {answer}": len(pairs) for answer, pairs in found.items()}
    size = min(map(len, found.values()))
    counts["kept"] = 2 * size
    rng = np.random.default_rng(seed)
    return [
        _tagging_example(queries[a], queries[b], answer)
        for answer, pairs in found.items()
        for a, b in pairs[np.sort(rng.permutation(len(pairs))[:size])].tolist()
    ], counts


def _tagging_example(query: Query, other: Query, answer: str) -> Example:
    return Example("tagging", query.text, answer, other.text, source="graph", query_id=query.id)


def _unordered_pairs(query_N: Rows, other_N: Rows) -> npt.NDArray[np.int64]:
    """(N, 2) rows of the distinct unordered pairs of queries."""
    pairs_N2 = np.sort(np.stack([query_N, other_N], axis=1), axis=1)
    return np.unique(pairs_N2, axis=0) if len(pairs_N2) else pairs_N2


def _rare_words(texts: Sequence[str], tokenizer: Tokenizer) -> sp.csr_matrix:
    """(texts, stems) weighted by rarity, 1 − log(share of texts with the stem): "blue" counts less than "sofa"."""
    has = stem_incidence(texts, tokenizer, {}, grow=True)
    share_V = np.asarray(has.sum(axis=0)).ravel() / max(len(texts), 1)
    return has.dot(sp.diags_array(1 - np.log(np.maximum(share_V, 1e-9)))).tocsr().astype(np.float32)
