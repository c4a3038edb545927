"""Training pairs of queries with the same relevant products: MiniELM's supervised data (arXiv 2501.18056).

    examples, counts = graph_pairs(shop, shop.split("train"), GraphConfig(), combine="expand")

Two queries pair, in both directions, if at least k products are Exact or Substitute for both
(`agents/query_log/graph.py`). In the paper a large model confirms that both mean the same; `confirm` takes any callable
for this. Filters that need no model come first: the similarity of the two queries' products, and whether the other
query's words are in the titles of this query's own products ("sofa" for "couch", but not "red", nor "something to sit
on"). Every filter is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from agents.examples.tasks import Example
from agents.query_log.graph import (
    Counts,
    Partners,
    Rows,
    capped,
    default_min_shared,
    keep_pairs,
    most_similar,
    query_products,
    stem_incidence,
)
from agents.text.expansion import rewrite_for_mode
from qr_env.common.errors import ConfigError
from qr_env.common.types import Query
from qr_env.evaluation.made_up import typed_queries
from qr_env.language.tokenize import Tokenizer
from qr_env.shop.shop import Shop

# (N queries, one rewrite of each) → (N,) bool, whether the rewrite means the same as its query.
Confirm = Callable[[Sequence[Query], Sequence[str]], npt.NDArray[np.bool_]]
CHUNK = 1 << 18  # pairs whose words are compared at a time


@dataclass(frozen=True)
class GraphConfig:
    """Which queries pair, and which words of the other query are taken."""

    min_shared: int = 0
    """least number of products that are relevant to both queries; 0: 5 if the median query has ten or more, else 1"""
    min_similarity: float = 0.1
    """least cosine of the two queries' gains over the products"""
    min_support: float = 0.5
    """least share of a query's products whose titles hold an added word; 0 allows every word"""
    partners: int = 32
    """other queries tried for each query, the most similar first"""
    max_rewrites: int = 2
    """rewrites a query"""
    max_queries: int = 1_000
    """queries that one product may connect; the edges cut from more popular products are counted"""

    def __post_init__(self) -> None:
        if self.min_shared < 0 or min(self.partners, self.max_rewrites, self.max_queries) < 1:
            raise ConfigError(f"{self}: min_shared must be 0 or more; partners, max_rewrites and max_queries 1 or more")


@dataclass(frozen=True)
class _Words:
    """Stems of P queries."""

    has_PV: sp.csr_matrix
    """1 where the query has the stem."""
    useful_PV: sp.csr_matrix | None
    """1 where the query lacks the stem and its products' titles have it; None if every stem is useful."""
    names_V: list[str]
    """The stems."""
    word_set_P: Rows
    """Equal numbers for queries with equal sets of stems."""

    def useful(self, row: int) -> frozenset[str] | None:
        """The useful stems of one query; None if every stem is useful."""
        if self.useful_PV is None:
            return None
        begin, end = self.useful_PV.indptr[row : row + 2]
        return frozenset(self.names_V[at] for at in self.useful_PV.indices[begin:end])


def _words(shop: Shop, texts: Sequence[str], gains_PC: sp.csr_matrix, min_support: float) -> _Words:
    """Stems of the queries, and useful stems: those in titles that hold at least `min_support` of a query's gain."""
    column: dict[str, int] = {}
    has = stem_incidence(texts, shop.tokenizer, column, grow=True)
    numbers: dict[bytes, int] = {}
    sets = (has.indices[begin:end].tobytes() for begin, end in zip(has.indptr[:-1], has.indptr[1:], strict=True))
    word_set_P = np.fromiter((numbers.setdefault(key, len(numbers)) for key in sets), np.int64, len(texts))
    if min_support <= 0:
        return _Words(has, None, list(column), word_set_P)
    weight_P = np.asarray(gains_PC.sum(axis=1), np.float64).ravel()
    of_titles = stem_incidence(shop.titles, shop.tokenizer, column, grow=False)
    shares = sp.diags_array(1 / np.maximum(weight_P, 1e-12)).dot(gains_PC) @ of_titles
    shares.data = (shares.data >= min_support - 1e-6).astype(np.float32)
    shares.eliminate_zeros()
    useful = (shares - shares.multiply(has)).tocsr()
    useful.eliminate_zeros()
    return _Words(has, useful, list(column), word_set_P)


def graph_pairs(
    shop: Shop,
    queries: Sequence[Query],
    config: GraphConfig = GraphConfig(),
    combine: str = "expand",
    confirm: Confirm | None = None,
    source: str = "auto",
) -> tuple[list[Example], Counts]:
    """Rewrites taken from similar queries as examples of the task "rewrite", and the count of every filter, in order.

    Args:
        queries: the queries that pair; no other query is read, so give the train split.
        config: thresholds and limits.
        combine: "expand" takes the other query's words that this one lacks and its products' titles have; "replace"
            and "union" take the whole other query if all its new words are in those titles.
        confirm: called last, on the rewrites that pass all other filters.
        source: of the graph, see `query_products`.
    """
    gains = query_products(shop, queries, source)
    counts: Counts = {"queries in the graph": int((np.diff(gains.indptr) > 0).sum()), "edges": int(gains.nnz)}
    if made_up := _made_up_edges(shop, queries, gains):
        counts["edges of queries made from the catalogue"] = made_up
    gains, cut = capped(gains, config.max_queries)
    shared = config.min_shared or default_min_shared(gains)
    texts = [query.text for query in queries]
    words = _words(shop, texts, gains, config.min_support)
    pairs, found = most_similar(gains, config.partners, shared, config.min_similarity, words.word_set_P)
    labels = {
        "share too few": f"share fewer than {shared}",
        "too dissimilar": f"similarity below {config.min_similarity:g}",
        "beyond the limit": f"beyond the {config.partners} most similar",
    }
    counts |= cut | {labels.get(name, name): count for name, count in found.items()}
    pairs = keep_pairs(
        pairs, _has_useful_words(pairs, words, combine), "no new word that its products' titles hold", counts
    )
    chosen = list(_rewrites(pairs, texts, words, combine, config.max_rewrites, shop.tokenizer))
    counts[f"the same rewrite again, or beyond {config.max_rewrites} a query"] = len(pairs) - len(chosen)
    rewrites = [(queries[row], text) for row, text in chosen]
    if confirm is not None and rewrites:
        confirmed_N = np.asarray(confirm([query for query, _ in rewrites], [text for _, text in rewrites]), np.bool_)
        counts["not confirmed"] = int((~confirmed_N).sum())
        rewrites = [pair for pair, confirmed in zip(rewrites, confirmed_N.tolist(), strict=True) if confirmed]
    counts["kept"] = len(rewrites)
    return [Example("rewrite", q.text, text, source="graph", query_id=q.id) for q, text in rewrites], counts


def _made_up_edges(shop: Shop, queries: Sequence[Query], gains: sp.csr_matrix) -> int:
    """Edges of queries that were made from the catalogue: their grades and purchases are made up, too."""
    typed = {query.row for query in typed_queries(shop, queries)}
    made_up_P = np.array([query.row not in typed for query in queries], np.bool_)
    return int(np.diff(gains.indptr)[made_up_P].sum())


def _has_useful_words(pairs: Partners, words: _Words, combine: str) -> npt.NDArray[np.bool_]:
    """(N,) whether the other query has useful words; unless in "expand", also whether all its new words are useful."""
    new_N, useful_N = np.zeros((2, len(pairs)), np.int64)
    for start in range(0, len(pairs), CHUNK):
        part = slice(start, start + CHUNK)
        own, other = pairs.query_N[part], words.has_PV[pairs.other_N[part]]
        new_N[part] = np.diff(other.indptr) - np.asarray(other.multiply(words.has_PV[own]).sum(axis=1)).ravel()
        if words.useful_PV is not None:
            useful_N[part] = np.asarray(other.multiply(words.useful_PV[own]).sum(axis=1)).ravel()
    if words.useful_PV is None:
        useful_N = new_N
    return useful_N > 0 if combine == "expand" else (useful_N > 0) & (useful_N == new_N)


def _rewrites(
    pairs: Partners, texts: Sequence[str], words: _Words, combine: str, limit: int, tokenizer: Tokenizer
) -> Iterator[tuple[int, str]]:
    """(row of the query, rewrite): the first `limit` distinct rewrites of each query."""
    ends = np.flatnonzero(np.diff(pairs.query_N, append=-1)) + 1
    for start, end in zip([0, *ends.tolist()][:-1], ends.tolist(), strict=True):
        row = int(pairs.query_N[start])
        useful = words.useful(row)
        found: dict[str, None] = {}
        for other in pairs.other_N[start:end].tolist():
            text = rewrite_for_mode(texts[row], texts[other], combine, tokenizer)
            if combine == "expand" and useful is not None:
                text = _useful_words(text, useful.union(tokenizer.terms(texts[row])), tokenizer)
            if text:
                found[text] = None
            if len(found) == limit:
                break
        yield from ((row, text) for text in found)


def _useful_words(text: str, useful: frozenset[str], tokenizer: Tokenizer) -> str:
    """The words whose stems are all in `useful`; words of one or two letters, such as units, only after a number."""
    words: list[str] = []
    for word in text.split():
        after_number = bool(words) and words[-1][-1].isdigit()
        if useful.issuperset(tokenizer.terms(word)) and (len(word) > 2 or not word.isalpha() or after_number):
            words.append(word)
    return " ".join(words)
