"""Training pairs filtered by the engine: BEQUE's offline feedback (arXiv 2311.03758 §3.1).

    scored = score_options(queries, options, FeedbackScorer(simulator), agent="rm3")
    examples, counts = engine_pairs(scored, EngineConfig(), titles=bought_titles(shop, queries))

A candidate y for the query x is kept if rele(x, y) > τ_rele and incr(x, y) > τ_incr: its results are relevant to x, and
include excellent products that x alone does not find (formulas: `qr_env/reward/feedback.py`; there the increment is the
paper's ratio − 1). Candidates come from any agent, or from the log (`agents.query_log.word_model.candidates`). The
titles that were bought for the query are its context. Every filter is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from agents.examples.scoring import FeedbackScorer
from agents.examples.tasks import MAX_TITLES, Example
from qr_env.common.errors import ConfigError
from qr_env.common.types import FloatArray, Query
from qr_env.language.tokenize import Tokenizer
from qr_env.query_text.kept import is_kept

Counts = dict[str, int]


@dataclass(frozen=True)
class EngineConfig:
    """BEQUE's thresholds, and the form of the examples. Numbers must be above their thresholds."""

    min_relevance: float = 0.2
    """τ_rele: threshold of the share of the rewrite's results that are relevant to the query"""
    min_increment: float = 0.0
    """τ_incr: threshold of the excellent products that the rewrite adds, as a share of the query's own"""
    min_reward: float = 0.02
    """threshold of the reward"""
    max_rewrites: int = 2
    """rewrites a query, the highest rewards first"""
    keep_original: bool = True
    """make an example that keeps the original of a query whose candidates were all judged and all fail"""
    context_share: float = 0.25
    """share of the examples whose prompt holds titles bought for the query; online prompts hold none"""
    seed: int = 0
    """of the draw of the examples with context"""

    def __post_init__(self) -> None:
        if self.max_rewrites < 1 or not 0 <= self.context_share <= 1:
            raise ConfigError(f"{self}: max_rewrites must be 1 or more, context_share from 0 to 1")


@dataclass(frozen=True)
class Scored:
    """Candidate rewrites and their feedback by engine and judge."""

    queries: Sequence[Query]
    """P queries."""
    options: Sequence[Sequence[str]]
    """Up to G candidates for each query."""
    figures: Mapping[str, FloatArray]
    """Figures by name (`agents.examples.scoring.FIGURES`), (P, G) each; NaN without a candidate or a verdict."""
    agent: str = ""
    """Name of the agent that wrote the candidates."""

    @property
    def present_PG(self) -> npt.NDArray[np.bool_]:
        """(P, G) whether there is a candidate."""
        width = self.figures["reward"].shape[1]
        return np.arange(width) < np.array([len(row) for row in self.options], np.int64)[:, None]

    def with_figures(self, example: Example, row: int, column: int) -> Example:
        """The example with relevance, increment and reward of one candidate."""
        relevance, increment, reward = (
            float(self.figures[name][row, column]) for name in ("relevance", "increment", "reward")
        )
        return replace(example, relevance=relevance, increment=increment, reward=reward)


def score_options(
    queries: Sequence[Query], options: Sequence[Sequence[str]], score: FeedbackScorer, agent: str = ""
) -> Scored:
    """Score the distinct candidates, without those that keep the original."""
    distinct = [
        [text for text in dict.fromkeys(texts) if not is_kept(query.text, text)]
        for query, texts in zip(queries, options, strict=True)
    ]
    return Scored(queries, distinct, score(queries, distinct), agent)


def engine_pairs(
    scored: Scored, config: EngineConfig = EngineConfig(), titles: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[Example], Counts]:
    """Candidates above all thresholds as examples of the task "rewrite", and the count of every filter, in order.

    Args:
        titles: query id → titles bought for it.
    """
    figures, present = scored.figures, scored.present_PG
    counts: Counts = {"queries": len(scored.queries), "candidates": int(present.sum())}
    judged = present & ~np.isnan(np.stack([figures[name] for name in ("reward", "relevance", "increment")])).any(axis=0)
    counts["without a verdict"] = int((present & ~judged).sum())
    passing = judged
    for name, threshold in (
        ("relevance", config.min_relevance),
        ("increment", config.min_increment),
        ("reward", config.min_reward),
    ):
        above = passing & (np.nan_to_num(figures[name], nan=-np.inf) > threshold)
        counts[f"{name} {threshold:g} or less"] = int(passing.sum() - above.sum())
        passing = above
    # Highest reward first; the stable sort keeps the agent's order on ties.
    order_PG = np.argsort(np.where(passing, -figures["reward"], np.inf), axis=1, kind="stable")[
        :, : config.max_rewrites
    ]
    at_P, at_G = np.nonzero(np.take_along_axis(passing, order_PG, axis=1))
    counts[f"beyond {config.max_rewrites} a query"] = int(passing.sum()) - len(at_P)
    counts["kept"] = len(at_P)
    chosen = list(zip(at_P.tolist(), order_PG[at_P, at_G].tolist(), strict=True))
    if config.keep_original:
        rejected_P = present.any(axis=1) & (judged == present).all(axis=1) & ~passing.any(axis=1)
        counts["queries that keep the original"] = int(rejected_P.sum())
        chosen += [(row, -1) for row in np.flatnonzero(rejected_P).tolist()]
    with_context = np.random.default_rng(config.seed).random(len(chosen)) < config.context_share
    known = titles or {}
    return [
        _example(scored, row, column, known if with_titles else {})
        for (row, column), with_titles in zip(chosen, with_context.tolist(), strict=True)
    ], counts


def _example(scored: Scored, row: int, column: int, titles: Mapping[str, Sequence[str]]) -> Example:
    """The example of one candidate with its figures; column -1 keeps the original query."""
    query = scored.queries[row]
    context = tuple(titles.get(query.id, ())[:MAX_TITLES])
    example = Example("rewrite", query.text, "", "", context, f"engine:{scored.agent}", query.id)
    if column < 0:
        return example
    return scored.with_figures(replace(example, response=scored.options[row][column]), row, column)


def approved(
    examples: Sequence[Example],
    queries: Sequence[Query],
    score: FeedbackScorer,
    min_reward: float,
    trusted: bool,
    known: frozenset[str],
    tokenizer: Tokenizer,
) -> tuple[list[Example], Counts]:
    """The rewrites, of any source, with a reward above `min_reward`, their figures filled in; and the filters' counts.

    A query whose rewrites were all judged and all fail becomes an example that keeps the original, but only if the
    catalogue has all its words: one or two failures do not show that a misspelt query is best kept.

    Args:
        examples: N examples of the task "rewrite".
        queries: the query of each example.
        score: of the rewrites.
        min_reward: threshold of the reward.
        trusted: keep rewrites without a verdict, because their source is reliable.
        known: stems of the catalogue.
        tokenizer: of its language.
    """
    place = {key: row for row, key in enumerate(dict.fromkeys((query.row, query.text) for query in queries))}
    row_N = np.array([place[query.row, query.text] for query in queries], np.int64)
    query_of = dict(zip(row_N.tolist(), queries, strict=True))
    options: list[list[str]] = [[] for _ in place]
    column_N = []
    for row, example in zip(row_N.tolist(), examples, strict=True):
        column_N.append(len(options[row]))
        options[row].append(example.response)
    scored = Scored(list(query_of.values()), options, score(list(query_of.values()), options))
    judged = [
        scored.with_figures(example, row, column)
        for example, row, column in zip(examples, row_N.tolist(), column_N, strict=True)
    ]
    rewards_N = np.array([example.reward for example in judged])
    unjudged_N, rewarded_N = np.isnan(rewards_N), rewards_N > min_reward
    kept_N = rewarded_N | (unjudged_N & trusted)
    failed = np.setdiff1d(row_N[~rewarded_N & ~unjudged_N], row_N[rewarded_N | unjudged_N]).tolist()
    unimproved = [row for row in failed if known.issuperset(tokenizer.terms(query_of[row].text))]
    keep_original = [
        Example("rewrite", query_of[row].text, "", source=examples[0].source, query_id=query_of[row].id)
        for row in unimproved
    ]
    counts = {
        "kept without a verdict" if trusted else "without a verdict": int(unjudged_N.sum()),
        f"reward {min_reward:g} or less": int((~rewarded_N & ~unjudged_N).sum()),
        "approved by the engine": int(rewarded_N.sum()),
        "queries that keep the original": len(keep_original),
    }
    return [example for example, keep in zip(judged, kept_N.tolist(), strict=True) if keep] + keep_original, counts
