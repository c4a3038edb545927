"""`qr headroom`: its settings and its table are described in `runs/headroom/args.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from agents.factory import AgentOptions, make_suggest
from agents.policy.word_policy import WordPolicy, WordPolicyConfig, train
from agents.suggestions.rewriter import Evidence
from agents.suggestions.settings import NO_GATE, SuggestSettings
from judges.checks import check_judge
from judges.factory import open_judge
from qr_env.common.download import cache_root
from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from qr_env.common.packages import require
from qr_env.common.types import Hits, Query
from qr_env.environment.simulator import Simulator
from qr_env.evaluation.bootstrap import interval, resampled_means
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.scorers import JudgeScorer
from qr_env.retrieval.factory import default_encoder, make_retriever
from qr_env.reward.reward import Reward, Weights
from qr_env.shop.load import load_shop
from runs.common.checks import about, check_output
from runs.common.output import write_json
from runs.headroom.args import Args

Array = npt.NDArray[np.float64]

VARIANTS = {
    "repair": SuggestSettings(words=0),
    "suggest": SuggestSettings(),
    "5 words / 4": SuggestSettings(words=5, ratio=4.0, full_matches=NO_GATE),
    "5 words / 8": SuggestSettings(words=5, ratio=8.0, full_matches=NO_GATE),
    "20 words / 3": SuggestSettings(words=20, ratio=3.0, full_matches=NO_GATE),
    "20 words / 6": SuggestSettings(words=20, ratio=6.0, full_matches=NO_GATE),
    "20 words / 10": SuggestSettings(words=20, ratio=10.0, full_matches=NO_GATE),
}
METRICS = ("nDCG@10", "nDCG@10 (judged only)", "R@100")
FOLDS = 2
MIN_FITTED = 200  # graded queries that the selector by labels needs: fewer teach it nothing


@dataclass(frozen=True)
class Scores:
    """Figures of one rewriter on N graded queries."""

    values_NF: Array
    """`METRICS` by query; NaN where the query does not define one."""

    @property
    def main_N(self) -> Array:
        """nDCG@10 over judged products, or nDCG@10 where the grades are complete."""
        judged_N: Array = self.values_NF[:, 1]
        return self.values_NF[:, 0] if np.isnan(judged_N).all() else judged_N


@dataclass(frozen=True)
class Record:
    """One row of the table."""

    means: dict[str, float]
    """Mean of each of `METRICS` that is defined."""
    worse: float
    """Share of queries that the rewriter makes worse than the original."""
    over_suggest: tuple[float, float, float]
    """Mean difference to `suggest`, and its 95 % interval."""


def main(args: Args) -> None:
    """Evaluate every row and print the table."""
    check_output("json", args.json)
    for spec in args.judge:
        with about("judge", spec):
            check_judge(spec, args.judge_options())
    shop = load_shop(args.shop, args.data, options=args.read_options())
    graded = load_shop(args.labels, options=args.read_options()) if args.labels else shop
    if graded.products_hash != shop.products_hash:
        raise ConfigError(f"--labels {args.labels}: {graded!r} has other products than {shop!r}")
    queries = [query for query in shop.all_queries if query.split != "test"]
    if not queries:
        raise ConfigError(f"{shop!r}: no train or dev queries to learn from")
    retriever = make_retriever(args.retriever, shop, cache_root())
    options = AgentOptions(shop, retriever, encoder=default_encoder, cache_dir=cache_root())
    suggest = make_suggest(options, SuggestSettings())
    evaluator = HeldOutEvaluator(graded, retriever, "test", limit=args.limit)
    evidence = suggest.evidence(evaluator.texts)
    rewrites = {name: [suggest.compose(one, settings) for one in evidence] for name, settings in VARIANTS.items()}
    bar = tqdm(rewrites.items(), desc="variants of suggest", unit="variant")
    lists = {name: evaluator.search(texts) for name, texts in bar}
    variants = {name: score(evaluator, texts, lists[name]) for name, texts in rewrites.items()}

    rows = {"repair": variants["repair"], "suggest": variants["suggest"]}
    for name in args.judge:
        judge = open_judge(name, shop, args.judge_options(default_encoder()))
        make_simulator = partial(Simulator, shop, retriever, judge, Reward(Weights(change=args.change)))
        for seed in args.seeds:
            policy = WordPolicy(suggest, seed)
            learn(policy, make_simulator, queries, WordPolicyConfig(args.steps, seed=seed), f"{name}, seed {seed}")
            texts = evaluator.rewrites(policy)
            rows[f"policy by {name}, seed {seed}"] = score(evaluator, texts, evaluator.search(texts))
            if args.out:
                policy.save(Path(args.out) / f"{name.replace('/', '_')}-{seed}")
        rows[f"chosen by {name}"] = chosen(variants, judged_gains(JudgeScorer(judge, evaluator.queries), lists))
    rows |= chosen_by_labels(evidence, variants, args.threshold)
    before = score(evaluator, evaluator.texts, evaluator.before)
    records = {name: record(one, before, rows["suggest"]) for name, one in {"identity": before, **rows}.items()}
    rows_json = {name: asdict(row) for name, row in records.items()}
    write_json(args.json, {"verb": "headroom", "args": vars(args), "queries": len(evidence), "rows": rows_json})
    if args.json != "-":
        Console(width=140).print(table(records, len(evidence)))


def learn(
    policy: WordPolicy,
    make_simulator: Callable[[int, int], Simulator],
    queries: Sequence[Query],
    config: WordPolicyConfig,
    label: str,
) -> None:
    """Train the policy on the log's queries with the judge's reward, and print what became of the reward."""
    history = train(policy, make_simulator, queries, config)
    first, last = (float(np.mean([row["reward"] for row in part])) for part in (history[:10], history[-10:]))
    print_message(f"policy by {label}: reward {first:+.4f} → {last:+.4f} over {len(history)} updates")


def score(evaluator: HeldOutEvaluator, rewrites: Sequence[str], hits: Hits) -> Scores:
    """The figures of one rewrite a query and its result list."""
    figures, _ = evaluator.figures(rewrites, hits)
    return Scores(np.stack([figures.get(name, missing(evaluator)) for name in METRICS], axis=1))


def missing(evaluator: HeldOutEvaluator) -> Array:
    """A figure that no query defines."""
    return np.full(len(evaluator.texts), np.nan)


def judged_gains(scorer: JudgeScorer, lists: Mapping[str, Hits]) -> Array:
    """(N, variants) gain of each variant's first page by the judge over that of the first variant."""
    values_NB = np.stack([scorer.quick(hits) for hits in lists.values()], axis=1)
    return np.asarray(values_NB - values_NB[:, :1])


def chosen_by_labels(
    evidence: Sequence[Evidence], variants: Mapping[str, Scores], threshold: float
) -> dict[str, Scores]:
    """The two ceilings: the choice of a selector fitted on other queries' labels, and that of each query's own."""
    rows = {}
    if len(evidence) >= MIN_FITTED:
        rows["selector by labels"] = chosen(variants, expected_gains(evidence, variants), threshold)
    else:
        print_message(
            f"no selector by labels: {len(evidence)} graded queries, and it is fitted on {MIN_FITTED} or more"
        )
    return rows | {"chosen by labels": chosen(variants, gains_over_first(variants))}


def gains_over_first(variants: Mapping[str, Scores]) -> Array:
    """(N, variants) gain of each variant over the first one, by labels."""
    values_NB = np.stack([one.main_N for one in variants.values()], axis=1)
    return values_NB - values_NB[:, :1]


def expected_gains(evidence: Sequence[Evidence], variants: Mapping[str, Scores]) -> Array:
    """(N, variants) gain over the first variant that gradient-boosted trees expect from features of the query.

    Each half of the queries is predicted by trees fitted on the labels of the other half.
    """
    require("sklearn", what="the selector by labels")
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - takes a second, for this row only

    features_NF = np.array([query_features(one) for one in evidence])
    gains_NB = gains_over_first(variants)
    fold_N = np.random.default_rng(0).integers(0, FOLDS, len(evidence))
    expected_NB = np.zeros_like(gains_NB)
    for fold in range(FOLDS):
        for column in range(1, gains_NB.shape[1]):
            known_N = (fold_N != fold) & ~np.isnan(gains_NB[:, column])
            trees = HistGradientBoostingRegressor(
                max_iter=80, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=40, random_state=0
            )
            trees.fit(features_NF[known_N], gains_NB[known_N, column])
            expected_NB[fold_N == fold, column] = trees.predict(features_NF[fold_N == fold])
    return expected_NB


def query_features(evidence: Evidence) -> list[float]:
    """What `suggest` knows of a query, as numbers."""
    weights = [added.weight for added in evidence.words]
    return [
        evidence.full_matches, len(evidence.query.split()), len(evidence.repaired), len(weights),
        weights[0] if weights else 0.0, float(sum(weights[:5])), float(sum(weights)),
        sum(map(str.isdigit, evidence.query)), len(evidence.query),
    ]  # fmt: skip


def chosen(variants: Mapping[str, Scores], gains_NB: Array, threshold: float = 0.0) -> Scores:
    """The variant with the greatest gain of each query, where it is above the threshold, else the first variant."""
    gains_NB = np.where(np.isnan(gains_NB), -np.inf, gains_NB)
    best_N = np.where(gains_NB.max(axis=1) > threshold, gains_NB.argmax(axis=1), 0)
    values_NBF = np.stack([one.values_NF for one in variants.values()], axis=1)
    return Scores(values_NBF[np.arange(len(best_N)), best_N])


def record(scores: Scores, before: Scores, suggest: Scores) -> Record:
    """Means, share of queries worse than the original query, and the paired difference to `suggest`."""
    gain_N: Array = scores.main_N - before.main_N
    difference_N: Array = scores.main_N - suggest.main_N
    known_N: npt.NDArray[np.bool_] = ~np.isnan(gain_N)
    low, high = interval(resampled_means(difference_N[:, None])[:, 0])
    columns = dict(zip(METRICS, scores.values_NF.T, strict=True))
    means = {name: float(np.nanmean(values_N)) for name, values_N in columns.items() if not np.isnan(values_N).all()}
    worse = float(np.nanmean(np.where(known_N, gain_N < -1e-9, np.nan)))
    return Record(means, worse, (float(np.nanmean(difference_N)), low, high))


def table(records: Mapping[str, Record], queries: int) -> Table:
    """The rows as they are printed."""
    names = list(records["identity"].means)
    lines = Table(title=f"{queries:,} graded queries; difference to suggest of {names[min(1, len(names) - 1)]}, 95 %")
    for name in ("", *names, "worse than identity", "over suggest"):
        lines.add_column(name, justify="right" if name else "left")
    for name, row in records.items():
        difference, low, high = row.over_suggest
        cells = [f"{row.means[metric]:.3f}" for metric in names] + [f"{row.worse:.1%}"]
        lines.add_row(name, *cells, f"{difference:+.4f} [{low:+.4f}, {high:+.4f}]")
    return lines
