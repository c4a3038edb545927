"""Pairs that the engine itself approves: BEQUE's offline feedback as a filter (arXiv 2311.03758 §3.1, papers.md B).

    scored = score_options(queries, options, feedback_scorer(simulator), agent="rm3")
    examples, counts = engine_pairs(scored, EngineConfig(), titles=bought_titles(shop, queries))

A candidate y for the query x is kept when rele(x, y) > τ_rele and incr(x, y) > τ_incr: what it finds is relevant to x,
and it finds excellent products that x alone does not (formulas: `qr_env/reward/feedback.py`; there the increment is the
paper's ratio − 1). Candidates come from any agent, or from the log (`agents.examples.pairs.candidates`). The titles that
shoppers interacted with under the query are its context. Every filter is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.examples.scoring import FeedbackScorer
from agents.examples.tasks import MAX_TITLES, Example
from qr_env.common import tokenize
from qr_env.common.errors import ConfigError
from qr_env.common.types import FloatArray, Query
from qr_env.retrieval.combine import is_kept

Counts = dict[str, int]


@dataclass(frozen=True)
class EngineConfig:
    """BEQUE's thresholds, and how what passes is put."""

    min_relevance: float = 0.2
    """τ_rele: share of what the rewrite finds that is relevant to the query must be above it"""
    min_increment: float = 0.0
    """τ_incr: relevant excellent products that the rewrite adds, as a share of the query's own, must be above it"""
    min_reward: float = 0.02
    """the reward must be above it: what costs the shopper more than it gives is no example"""
    most: int = 2
    """rewrites a query, the best paid first"""
    alone: bool = True
    """a query whose candidates were all judged and all fail becomes an example of leaving it alone"""
    context: float = 0.25
    """share of the examples that carry titles bought for the query; the others are put as online, without any"""
    seed: int = 0
    """of the draw of examples with context"""

    def __post_init__(self) -> None:
        if self.most < 1 or not 0 <= self.context <= 1:
            raise ConfigError(f"{self}: most must be 1 or more, context a share from 0 to 1")


@dataclass(frozen=True)
class Scored:
    """P queries, up to C candidates each, and what the engine says of them: figures by name, P × C, NaN where there is
    no candidate or no verdict. agent: who wrote the candidates."""

    queries: Sequence[Query]
    options: Sequence[Sequence[str]]
    figures: Mapping[str, FloatArray]
    agent: str = ""

    @property
    def present_PG(self) -> npt.NDArray[np.bool_]:
        """Where there is a candidate."""
        width = self.figures["reward"].shape[1]
        return np.arange(width) < np.array([len(row) for row in self.options], np.int64)[:, None]

    def verdict(self, row: int, column: int) -> dict[str, Any]:
        """The fields of an `Example` that the engine fills."""
        return {name: float(self.figures[name][row, column]) for name in ("relevance", "increment", "reward")}


def score_options(
    queries: Sequence[Query], options: Sequence[Sequence[str]], score: FeedbackScorer, agent: str = ""
) -> Scored:
    """The engine's verdict on candidates: each once, and none that means "keep the original"."""
    distinct = [
        [text for text in dict.fromkeys(texts) if not is_kept(query.text, text)]
        for query, texts in zip(queries, options, strict=True)
    ]
    return Scored(queries, distinct, score(queries, distinct), agent)


def engine_pairs(
    scored: Scored, config: EngineConfig = EngineConfig(), titles: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[Example], Counts]:
    """Candidates that pass both thresholds, as examples of the task "rewrite"; and every filter's count, in order.

    Args:
        titles: query id → titles that shoppers interacted with under it.
    """
    figures, there = scored.figures, scored.present_PG
    counts: Counts = {"queries": len(scored.queries), "candidates": int(there.sum())}
    judged = there & ~np.isnan(np.stack([figures[name] for name in ("reward", "relevance", "increment")])).any(axis=0)
    counts["without a verdict"] = int((there & ~judged).sum())
    passing = judged
    for name, least in (
        ("relevance", config.min_relevance),
        ("increment", config.min_increment),
        ("reward", config.min_reward),
    ):
        above = passing & (np.nan_to_num(figures[name], nan=-np.inf) > least)
        counts[f"{name} {least:g} or less"] = int(passing.sum() - above.sum())
        passing = above
    # The best paid first; a stable sort keeps the agent's own order among equals.
    order_PG = np.argsort(np.where(passing, -figures["reward"], np.inf), axis=1, kind="stable")[:, : config.most]
    at_P, at_G = np.nonzero(np.take_along_axis(passing, order_PG, axis=1))
    counts[f"beyond {config.most} a query"] = int(passing.sum()) - len(at_P)
    counts["kept"] = len(at_P)
    chosen = list(zip(at_P.tolist(), order_PG[at_P, at_G].tolist(), strict=True))
    if config.alone:
        rejected_P = there.any(axis=1) & (judged == there).all(axis=1) & ~passing.any(axis=1)
        counts["queries left alone"] = int(rejected_P.sum())
        chosen += [(row, -1) for row in np.flatnonzero(rejected_P).tolist()]
    shown = np.random.default_rng(config.seed).random(len(chosen)) < config.context
    known = titles or {}
    return [
        _example(scored, row, column, known if with_titles else {})
        for (row, column), with_titles in zip(chosen, shown.tolist(), strict=True)
    ], counts


def _example(scored: Scored, row: int, column: int, titles: Mapping[str, Sequence[str]]) -> Example:
    """One candidate with its verdict; column -1: leave the query alone."""
    query = scored.queries[row]
    context = tuple(titles.get(query.id, ())[:MAX_TITLES])
    example = Example("rewrite", query.text, "", "", context, f"engine:{scored.agent}", query.id)
    if column < 0:
        return example
    return replace(example, response=scored.options[row][column], **scored.verdict(row, column))


def approved(
    examples: Sequence[Example],
    queries: Sequence[Query],
    score: FeedbackScorer,
    min_reward: float,
    vouched: bool,
    known: frozenset[str],
) -> tuple[list[Example], Counts]:
    """Rewrites of any source that the engine pays more than `min_reward`, with its verdict filled in.

    A query whose rewrites were all judged and all fail becomes an example of leaving it alone, but only where the
    catalogue knows all its words: one or two failures do not show that a misspelt query is fine as it is.

    Args:
        queries: of each example. vouched: somebody answers for the rewrites, so that those without a verdict stay.
        known: stems of the catalogue.
    """
    place = {key: row for row, key in enumerate(dict.fromkeys((query.row, query.text) for query in queries))}
    row_N = np.array([place[query.row, query.text] for query in queries], np.int64)
    asked = dict(zip(row_N.tolist(), queries, strict=True))
    options: list[list[str]] = [[] for _ in place]
    column_N = []
    for row, example in zip(row_N.tolist(), examples, strict=True):
        column_N.append(len(options[row]))
        options[row].append(example.response)
    scored = Scored(list(asked.values()), options, score(list(asked.values()), options))
    marked = [
        replace(example, **scored.verdict(row, column))
        for example, row, column in zip(examples, row_N.tolist(), column_N, strict=True)
    ]
    rewards_N = np.array([example.reward for example in marked])
    unjudged_N, rewarded_N = np.isnan(rewards_N), rewards_N > min_reward
    kept_N = rewarded_N | (unjudged_N & vouched)
    failed = np.setdiff1d(row_N[~rewarded_N & ~unjudged_N], row_N[rewarded_N | unjudged_N]).tolist()
    hopeless = [row for row in failed if known.issuperset(tokenize.terms(asked[row].text))]
    alone = [
        Example("rewrite", asked[row].text, "", source=examples[0].source, query_id=asked[row].id) for row in hopeless
    ]
    counts = {
        "kept without a verdict" if vouched else "without a verdict": int(unjudged_N.sum()),
        f"reward {min_reward:g} or less": int((~rewarded_N & ~unjudged_N).sum()),
        "approved by the engine": int(rewarded_N.sum()),
        "queries left alone": len(alone),
    }
    return [example for example, keep in zip(marked, kept_N.tolist(), strict=True) if keep] + alone, counts
