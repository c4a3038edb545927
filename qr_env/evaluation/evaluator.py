"""Score agents on held-out queries against the unchanged queries.

    evaluation = evaluate(shop, retriever, agent, split="test", combine="expand")
    evaluation.summary["all"]["metrics"]["nDCG@10"]     # mean, identity, difference, low, high

    qr evaluate --shop generated --retriever bm25 --agent identity spell rm3 oracle

In a training loop make one `HeldOutEvaluator`: what does not depend on the agent is computed once.

    evaluator = HeldOutEvaluator(shop, retriever, split="dev", limit=300)
    evaluator.quick(student)                             # {"nDCG@10": …, "identity/nDCG@10": …, "worse": …, …}
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Agent, Judge, Retriever
from qr_env.common.types import Grades, Hits, Query
from qr_env.evaluation.made_up import source_of_grades, typed_queries
from qr_env.evaluation.result import Array, Evaluation, changes, headroom_closed, summarise, weighted_means
from qr_env.evaluation.scorers import (
    TOP,
    GradedHits,
    JudgeScorer,
    LabelScorer,
    Scorer,
    bought_outside,
    likely_levels,
    list_figures,
)
from qr_env.retrieval import combine as combining
from qr_env.reward.feedback import Bought
from qr_env.reward.text_figures import text_figures
from qr_env.shop.shop import SPLITS, Shop
from qr_env.shop.slices import slices_of


class HeldOutEvaluator:
    """Evaluates agents on one split of one shop with one retriever; the original queries are searched once.

    Args:
        shop: whose queries and labels are used.
        retriever: over the same shop.
        split: "train", "dev" or "test".
        combine, weight: how a rewrite is combined with its original (`qr_env.retrieval.combine`).
        judge: grades products, for shops without labels; None scores by the shop's labels.
        k: length of the result lists; nDCG and RR use the first ten.
        limit: at most this many queries, drawn with `seed`; None takes all.
        resamples, seed: of the bootstrap.
        typed_only: leave out queries that were made from the catalogue (`qr_env.synthetic.queries`).

    Raises:
        ConfigError: no such split or mode, or no query of the split can be scored.
    """

    def __init__(
        self,
        shop: Shop,
        retriever: Retriever,
        split: str = "test",
        combine: str = "expand",
        weight: float = combining.ORIGINAL_WEIGHT,
        judge: Judge | None = None,
        k: int = 100,
        limit: int | None = None,
        seed: int = 0,
        resamples: int = 2000,
        typed_only: bool = False,
    ) -> None:
        combining.check(combine, weight)
        self.shop, self.retriever, self.split, self.combine, self.weight = shop, retriever, split, combine, weight
        self.k, self.seed, self.resamples = k, seed, resamples
        self.queries, self.unlabelled = choose_queries(shop, split, judge is None, limit, seed, typed_only)
        self.texts = [query.text for query in self.queries]
        self.judge = judge
        self.before = self.search(self.texts)
        self.raw = self.scorer.quick(self.before)

    @cached_property
    def by(self) -> str:
        """Source of the grades: that of the scorer, but grades of made-up queries are not called labels."""
        return self.scorer.by if self.judge is not None else source_of_grades(self.made_up, len(self.queries))

    @cached_property
    def made_up(self) -> int:
        """Number of the queries that were made from the catalogue."""
        return len(self.queries) - len(typed_queries(self.shop, self.queries))

    @cached_property
    def scorer(self) -> Scorer:
        """Scorer by labels, or by the judge."""
        return self._scorer_of(self.queries)

    def _scorer_of(self, queries: Sequence[Query]) -> Scorer:
        if self.judge is None:
            return LabelScorer(self.shop, queries, self.k)
        return JudgeScorer(self.judge, queries)

    def score(self, places: Sequence[int], rewrites: Sequence[str]) -> Array:
        """Headline figure of M rewrites of the queries at these places, which may repeat, (M,), with one search."""
        queries = [self.queries[place] for place in places]
        texts = [query.text for query in queries]
        found = combining.search(self.retriever, texts, rewrites, self.combine, self.weight, self.k)
        return self._scorer_of(queries).quick(found)

    def search(self, rewrites: Sequence[str], mode: str | None = None) -> Hits:
        """Result lists for one rewrite a query, always k long: fused lists depend on their depth."""
        return combining.search(self.retriever, self.texts, rewrites, mode or self.combine, self.weight, self.k)

    def figures(self, rewrites: Sequence[str], after: Hits) -> tuple[dict[str, Array], Grades]:
        """Every figure of N rewrites and their result lists, by name, each (N,); and the verdicts on the lists."""
        texts = text_figures(self.texts, rewrites)
        values, grades = list_figures(self.scorer, self._graded_before, after, texts, self._bought)
        return values | self._lengths(rewrites) | changes(values[self.scorer.main], self.raw), grades

    @cached_property
    def _graded_before(self) -> GradedHits:
        return self.before, self.scorer.grade(self.before)

    @cached_property
    def _bought(self) -> Bought | None:
        return bought_outside(self.shop, self.queries, self.scorer)

    @cached_property
    def identity(self) -> dict[str, Array]:
        """The figures of the unchanged queries."""
        return self.figures(self.texts, self.before)[0]

    @cached_property
    def oracle(self) -> dict[str, Array]:
        """Headline figure of the oracle's rewrite, searched alone and with `combine`; empty without an oracle."""
        if not self.shop.oracle:
            return {}
        best = [self.shop.oracle.get(query.id, query.text) for query in self.queries]
        modes = {"replace": "replace", "combined": self.combine}
        return {name: self.scorer.quick(self.search(best, mode)) for name, mode in modes.items()}

    def evaluate(self, agent: Agent) -> Evaluation:
        """Every figure of the agent's best rewrite of each query.

        `timing` holds "ms/query" of the rewriting, and the agent's own `costs` if it has such counts.
        """
        agent.rewrite(self.texts[:1], n=1, seed=self.seed)  # warm-up: loading and compiling are not timed
        started = time.perf_counter()
        rewrites = self.rewrites(agent)
        timing = {"ms/query": 1e3 * (time.perf_counter() - started) / len(self.texts)}
        after = self.search(rewrites)
        evaluation = self._evaluation(agent.name, rewrites, *self.figures(rewrites, after), after)
        return replace(evaluation, timing=timing | getattr(agent, "costs", {}))

    def evaluate_run(self, hits: Hits, name: str) -> Evaluation:
        """The same for another system's result lists, whose rewrites are unknown."""
        hits = combining.padded(hits, self.k)
        values, grades = self.figures(self.texts, hits)
        for unknown in ("words ratio", "kept"):
            values[unknown] = np.full(len(hits), np.nan)
        return self._evaluation(name, [""] * len(hits), values, grades, hits)

    def quick(self, agent: Agent) -> dict[str, float]:
        """The few figures that a training loop monitors, computed with numpy.

        Keys: the headline figure ("nDCG@10" or "judge nDCG@10") of the agent, of "identity/" and, where the shop has
        one, of "oracle/"; "headroom" then too; "better", "worse", "kept" as shares of queries; "words ratio", words of
        the rewrite to words of the query. Queries without verdicts for agent or identity are in no mean of scores.
        """
        rewrites = self.rewrites(agent)
        main, values = self.scorer.main, self.scorer.quick(self.search(rewrites))
        sides = changes(values, self.raw)
        columns = {main: values, f"identity/{main}": self.raw, "better": sides["better"], "worse": sides["worse"]}
        columns |= self._lengths(rewrites)
        if self.oracle:
            columns[f"oracle/{main}"] = self.oracle["replace"]
        # As in the full evaluation, means are over the queries that define both sides.
        unknown_N = np.isnan(values) | np.isnan(self.raw)
        columns |= {name: np.where(unknown_N, np.nan, columns[name]) for name in columns if name.endswith(main)}
        means = weighted_means(np.stack(list(columns.values()), axis=1))
        figures = dict(zip(columns, map(float, means), strict=True))
        if self.oracle:
            figures["headroom"] = float(
                headroom_closed(figures[main], figures[f"identity/{main}"], figures[f"oracle/{main}"])
            )
        return figures

    def _lengths(self, rewrites: Sequence[str]) -> dict[str, Array]:
        """`words ratio` (1 where the original is kept) and `kept`, (N,) each."""
        kept_N = combining.kept(self.texts, rewrites)
        ratio_N = _words(rewrites) / np.maximum(_words(self.texts), 1)
        return {"words ratio": np.where(kept_N, 1.0, ratio_N), "kept": kept_N.astype(np.float64)}

    def rewrites(self, agent: Agent) -> list[str]:
        """The agent's best rewrite of each query."""
        return [options[0] if options else "" for options in agent.rewrite(self.texts, n=1, seed=self.seed)]

    def _evaluation(
        self, name: str, rewrites: list[str], values: dict[str, Array], grades: Grades, after: Hits
    ) -> Evaluation:
        slices = slices_of(self.shop, self.queries, self.raw)
        main = self.scorer.main
        parts = (values, self.identity, self.oracle, main, self.queries, slices, self.resamples, self.seed)
        return Evaluation(
            agent=name,
            shop=self.shop.name,
            shop_hash=self.shop.hash,
            retriever=self.retriever.name,
            split=self.split,
            combine=self.combine,
            weight=self.weight,
            k=self.k,
            seed=self.seed,
            main=main,
            by=self.by,
            made_up=self.made_up,
            unlabelled=self.unlabelled,
            queries=self.queries,
            rewrites=rewrites,
            values=values,
            identity=self.identity,
            oracle=self.oracle,
            slices=slices,
            summary=summarise(*parts),
            before=combining.padded(self.before, TOP),
            after=combining.padded(after, TOP),
            levels_before=likely_levels(self._graded_before[1]),
            levels_after=likely_levels(grades),
        )


def choose_queries(
    shop: Shop, split: str, labelled: bool, limit: int | None, seed: int, typed_only: bool = False
) -> tuple[list[Query], int]:
    """(queries of a split that are scored, number of queries left out because they have no label).

    typed_only: leave out queries that were made from the catalogue.

    Raises:
        ConfigError: no such split, or nothing is left.
    """
    if split not in SPLITS:
        raise ConfigError(f"split={split!r}: choose one of {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise ConfigError(f"limit={limit}: must be 1 or more")
    queries = typed_queries(shop, shop.split(split)) if typed_only else shop.split(split)
    gradable = np.flatnonzero(np.diff(shop.qrels.indptr)) if labelled else None
    chosen = queries if gradable is None else _with_rows(queries, gradable)
    if not chosen:
        if not len(shop.queries):
            raise ConfigError(f"{shop!r} has no queries to evaluate: put a queries file beside its products")
        if not queries:
            counts = ", ".join(f"{len(shop.split(name)):,} {name}" for name in SPLITS)
            raise ConfigError(f"{shop!r} has no {split} queries ({counts}): choose another `split`")
        way_out = "give a judge, such as judge='embedding', or another `split`"
        raise ConfigError(f"{shop!r} has {len(queries)} {split} queries, none with a label: {way_out}")
    if limit is not None and limit < len(chosen):
        drawn = np.sort(np.random.default_rng(seed).permutation(len(chosen))[:limit])
        return [chosen[at] for at in drawn], len(queries) - len(chosen)
    return chosen, len(queries) - len(chosen)


def _with_rows(queries: list[Query], rows: np.ndarray) -> list[Query]:
    wanted = set(rows.tolist())
    return [query for query in queries if query.row in wanted]


def _words(texts: Sequence[str]) -> Array:
    return np.array([len(text.split()) for text in texts], np.float64)


def evaluate(shop: Shop, retriever: Retriever, agent: Agent, **settings: Any) -> Evaluation:
    """Evaluate one agent; settings and errors of `HeldOutEvaluator`. For several agents make one `HeldOutEvaluator`."""
    return HeldOutEvaluator(shop, retriever, **settings).evaluate(agent)
