"""A rewriter's answers as `Rewritten` rows, with the source of every word."""

from __future__ import annotations

from collections.abc import Sequence

from agents.serving.rewritten import Rewritten, rewritten
from agents.suggestions.rewriter import Evidence, Repaired, Suggest
from qr_env.common.protocols import Agent
from runs.common.serving.rewriter import OpenRewriter


def rewritten_batch(
    opened: OpenRewriter, queries: Sequence[str], frequencies: Sequence[float] | None = None
) -> list[Rewritten]:
    """The rewrites of P queries; equal queries are rewritten once.

    frequencies: P searches of each query; None: 1.
    """
    distinct = list(dict.fromkeys(queries))
    groups = opened.agent.rewrite(distinct)
    rewrites = {query: group[0] for query, group in zip(distinct, groups, strict=True)}
    sources = word_sources(opened.agent, distinct)
    return [
        rewritten(query, rewrites[query], sources.get(query), model=opened.version, frequency=frequency)
        for query, frequency in zip(queries, frequencies or [1.0] * len(queries), strict=True)
    ]


def word_sources(agent: Agent, queries: Sequence[str]) -> dict[str, dict[str, str]]:
    """Query → word → who suggested it, for rewriters that choose from suggestions; {} for others."""
    suggester = getattr(agent, "suggester", None)
    if suggester is not None:
        offers = suggester.offers(queries)
        return {
            query: {item.word: item.source for item in offer.words}
            for query, offer in zip(queries, offers, strict=True)
        }
    if isinstance(agent, Suggest):
        return {evidence.query: _sources(evidence) for evidence in agent.evidence(queries)}
    if isinstance(agent, Repaired):
        return {query: dict.fromkeys(agent.added_words(query), "repair") for query in queries}
    return {}


def _sources(evidence: Evidence) -> dict[str, str]:
    return {item.word: item.source for item in evidence.words} | dict.fromkeys(evidence.repaired, "repair")
