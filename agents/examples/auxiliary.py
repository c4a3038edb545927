"""What a student is taught besides rewriting, made from what the shop and its engine know.

    quality   BEQUE: is this a good rewrite? yes / no, from the engine's verdict on good and bad candidates
    title     BEQUE: query → the title of what was bought for it
    thought   BEQUE's chain of thought: which words no title has, which words the bought titles have; then the rewrite
    tagging   JD (arXiv 2603.02555): do query and rewrite mean the same? yes / no, from shared Exact products, or from
              the engine's relevance where nothing is graded

Where the answer is yes or no there are as many of one as of the other, and the hard cases come first: a bad rewrite of
a query that has a good one, another query that shares words but no product. Everything is as its seed says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from agents.examples.engine_pairs import Scored
from agents.examples.tasks import NO, YES, Example
from agents.query_log.graph import Counts, Rows, capped, query_products, stem_incidence, most_similar
from agents.query_log.word_model import words_of
from qr_env.common import tokenize
from qr_env.common.types import EXACT, GAINS, FloatArray, Query
from qr_env.shop.shop import Shop

KEEP = "keep"  # how a thought ends where the query is best left alone
SAME = 0.5  # cosine of two queries' Exact products from which they mean the same
MOST_NEIGHBOURS = 8  # queries that share words with a query, looked at for a "no"


def quality_examples(
    scored: Scored, high: float = 0.02, low: float = 0.0, seed: int = 0
) -> tuple[list[Example], Counts]:
    """Is it a good rewrite: yes where the reward is above `high`, no where it is below `low`; at most one of each a
    query, the best and the worst, and as many yes as no."""
    return _judged("quality", scored, scored.figures["reward"], high, low, seed)


def relevance_tags(scored: Scored, high: float = 0.7, low: float = 0.2, seed: int = 0) -> tuple[list[Example], Counts]:
    """Do query and rewrite mean the same, by the share of relevant products that the rewrite finds."""
    return _judged("tagging", scored, scored.figures["relevance"], high, low, seed)


def _judged(
    task: str, scored: Scored, figure_PG: FloatArray, high: float, low: float, seed: int
) -> tuple[list[Example], Counts]:
    """Yes and no from one figure of the candidates."""
    if not figure_PG.size:
        return [], {"yes": 0, "no": 0}
    best_P, worst_P = (np.where(np.isnan(figure_PG), fill, figure_PG) for fill in (-np.inf, np.inf))
    yes_P, no_P = best_P.max(axis=1) > high, worst_P.min(axis=1) < low
    at = {YES: best_P.argmax(axis=1), NO: worst_P.argmin(axis=1)}
    hard_P = yes_P & no_P
    chosen = {YES: _hard_first(yes_P, hard_P, seed), NO: _hard_first(no_P, hard_P, seed)}
    counts = {f"queries with a {answer}": len(rows) for answer, rows in chosen.items()}
    size = min(map(len, chosen.values()))
    counts |= {"kept": 2 * size}
    return [
        _judged_example(task, scored, row, int(at[answer][row]), answer)
        for answer, rows in chosen.items()
        for row in rows[:size].tolist()
    ], counts


def _hard_first(mask_P: npt.NDArray[np.bool_], hard_P: npt.NDArray[np.bool_], seed: int) -> Rows:
    """Rows of the mask: the hard ones in their order, then the others in a random one."""
    others = np.flatnonzero(mask_P & ~hard_P)
    return np.concatenate([np.flatnonzero(mask_P & hard_P), np.random.default_rng(seed).permutation(others)])


def _judged_example(task: str, scored: Scored, row: int, column: int, answer: str) -> Example:
    query, text = scored.queries[row], scored.options[row][column]
    example = Example(task, query.text, answer, text, source=f"engine:{scored.agent}", query_id=query.id)
    return replace(example, **scored.verdict(row, column))


def title_examples(titles: Mapping[str, Sequence[str]], queries: Sequence[Query], most: int = 2) -> list[Example]:
    """Query → title of what was bought for it, up to `most` a query."""
    return [
        Example("title", query.text, " ".join(title.split()), source="log", query_id=query.id)
        for query in queries
        for title in titles.get(query.id, ())[:most]
    ]


def thought_examples(
    rewrites: Iterable[Example], titles: Mapping[str, Sequence[str]], known: frozenset[str], most: int = 4
) -> list[Example]:
    """ "thought; rewrite" for rewrites whose query has bought titles.

    The thought says what is known: the query's words that no title of the shop has, and up to `most` words that most of
    the bought titles share and the query lacks.

    Args:
        known: stems of all titles (`title_stems`).
    """
    made = []
    for example in rewrites:
        if bought := titles.get(example.query_id):
            thought = _thought(example.query, bought, known, most)
            response = f"{thought}; {example.response or KEEP}"
            made.append(replace(example, task="thought", response=response, context=()))
    return made


def _thought(query: str, bought: Sequence[str], known: frozenset[str], most: int) -> str:
    lacking = [word for word in words_of(query) if not known.issuperset(tokenize.terms(word))]
    own = set(tokenize.terms(query))
    counts: dict[str, int] = {}
    for word in (word for title in bought for word in words_of(title) if word.isalpha() and len(word) > 2):
        counts[word] = counts.get(word, 0) + 1  # sizes without their units would say nothing
    shared = [word for word, count in counts.items() if 2 * count > len(bought) and not own & set(tokenize.terms(word))]
    first = f"no title has {' '.join(lacking)}" if lacking else "titles have all words"
    return f"{first}, bought: {' '.join(shared[:most])}" if shared else first


def title_stems(shop: Shop) -> frozenset[str]:
    """Every stem that a title of the shop holds."""
    return frozenset(term for title in shop.titles for term in tokenize.terms(title))


def tagging_examples(
    shop: Shop, queries: Sequence[Query], most: int = 2, max_queries: int = 1_000, seed: int = 0
) -> tuple[list[Example], Counts]:
    """Do two queries mean the same: yes where the cosine of their Exact products is `SAME` or more, no where they share
    words but no Exact product. Each two queries once; as many yes as no.

    Where only purchases are known they stand for Exact; two queries for one thing may then be bought different
    products for, so trust a "no" less.
    """
    gains = query_products(shop, queries)
    exact = sp.csr_matrix((gains.data >= GAINS[EXACT], gains.indices, gains.indptr), gains.shape, dtype=np.float32)
    exact.eliminate_zeros()
    words = _rare_words([query.text for query in queries])
    same, _ = most_similar(capped(exact, max_queries)[0], most, min_similarity=SAME)
    near, _ = most_similar(capped(words, max_queries)[0], MOST_NEIGHBOURS, min_similarity=0.1)
    graded_N = np.diff(exact.indptr) > 0
    near = near[graded_N[near.query_N] & graded_N[near.other_N]]
    near = near[np.asarray(exact[near.query_N].multiply(exact[near.other_N]).sum(axis=1)).ravel() == 0]
    found = {answer: _once(pairs.query_N, pairs.other_N) for answer, pairs in ((YES, same), (NO, near))}
    counts = {f"pairs with a {answer}": len(pairs) for answer, pairs in found.items()}
    size = min(map(len, found.values()))
    counts["kept"] = 2 * size
    rng = np.random.default_rng(seed)
    return [
        _tag(queries[a], queries[b], answer)
        for answer, pairs in found.items()
        for a, b in pairs[np.sort(rng.permutation(len(pairs))[:size])].tolist()
    ], counts


def _tag(query: Query, other: Query, answer: str) -> Example:
    return Example("tagging", query.text, answer, other.text, source="graph", query_id=query.id)


def _once(query_N: Rows, other_N: Rows) -> npt.NDArray[np.int64]:
    """(pairs, 2) each two queries once, whichever asked for the other."""
    pairs_N2 = np.sort(np.stack([query_N, other_N], axis=1), axis=1)
    return np.unique(pairs_N2, axis=0) if len(pairs_N2) else pairs_N2


def _rare_words(texts: Sequence[str]) -> sp.csr_matrix:
    """(texts, stems) weighted by how few texts have them: "blue" counts less than "sofa"."""
    has = stem_incidence(texts, {}, grow=True)
    share_T = np.asarray(has.sum(axis=0)).ravel() / max(len(texts), 1)
    return has.dot(sp.diags_array(1 - np.log(np.maximum(share_T, 1e-9)))).tocsr().astype(np.float32)
