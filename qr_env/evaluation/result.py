"""`Evaluation`: an agent's figures on held-out queries, query by query, compared with the unchanged queries.

    print(json.dumps(evaluation.to_json()))

`summary[slice]` is the report of one slice of the queries:

    {"queries": 1300, "traffic": 1.0,              # number, and share of the searches
     "metrics": {"nDCG@10": {"mean": …, "identity": …, "difference": …, "low": …, "high": …, "queries": …}, …},
     "headroom": {"share": …, "low": …, "high": …, "identity": …, "oracle": …, "oracle_combined": …} or null}

`low` and `high` bound the difference to identity (95 %, paired bootstrap by query); `queries` counts those that define
the figure for both. `traffic …` weighs each query by its frequency. `better`, `worse`, `same` are shares of queries
by their change in the headline figure. Headroom is (agent − identity) / (oracle − identity), the oracle searching its
rewrite alone; `oracle_combined` is the oracle under the agent's own `combine`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.common.types import Hits, Query
from qr_env.evaluation.bootstrap import interval, resampled_means
from qr_env.evaluation.made_up import made_up_note

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Summary = dict[str, dict[str, Any]]
SAME = 1e-6  # smaller changes in the headline figure count as none


@dataclass(frozen=True)
class Evaluation:
    """One agent on one split. Per-query arrays are in the order of `queries`; NaN where a figure is undefined."""

    agent: str
    """name of the agent"""
    shop: str
    """name of the shop"""
    shop_hash: str
    """`Shop.hash`"""
    retriever: str
    """name of the retriever"""
    split: str
    """"train", "dev" or "test\""""
    combine: str
    """mode of `qr_env.retrieval.combine`"""
    weight: float
    """of the original's words in "expand\""""
    k: int
    """length of the result lists"""
    seed: int
    """of the rewrites and of the bootstrap"""
    main: str
    """the headline figure, "nDCG@10" or "judge nDCG@10\""""
    by: str
    """source of the grades, "labels", "judge NAME", or a name of `made_up.py`"""
    made_up: int
    """queries among `queries` that were made from the catalogue"""
    unlabelled: int
    """queries of the split that were left out because they have no label"""
    queries: list[Query]
    """the N queries that were scored"""
    rewrites: list[str]
    """N rewrites; "" where unknown (a run file)"""
    values: dict[str, Array]
    """figure → (N,), of the agent"""
    identity: dict[str, Array]
    """figure → (N,), of the unchanged queries"""
    oracle: dict[str, Array]
    """headline figure of the oracle's rewrite, "replace" (searched alone) and "combined" → (N,); empty without an
    oracle
    """
    slices: dict[str, Mask]
    """name → (N,) bool, "all" first"""
    summary: Summary
    """the report of each slice; its form is in the module docstring"""
    before: Hits
    """first ten hits of the queries as typed"""
    after: Hits
    """first ten hits after the rewrites"""
    levels_before: npt.NDArray[np.int8]
    """(N, 10) likeliest level of each hit in `before`; -1 without a verdict"""
    levels_after: npt.NDArray[np.int8]
    """(N, 10) the same of `after`"""
    timing: dict[str, float] = field(default_factory=dict)
    """cost of the rewrites: "ms/query", and the agent's own counts; varies between runs, so it is not in `to_json`"""

    @property
    def made_up_note(self) -> str:
        """What a report must say first where queries were made from the catalogue; else ""."""
        return made_up_note(self.made_up, len(self.queries), self.split, self.by)

    @property
    def change(self) -> Array:
        """Change in the headline figure, (N,)."""
        return self.values[self.main] - self.identity[self.main]

    def to_json(self, per_query: bool = False) -> dict[str, Any]:
        """Everything but the hits, as JSON values (NaN is null). per_query: include the N rewrites and figures."""
        names = ("agent", "shop", "shop_hash", "retriever", "split", "combine", "weight", "k", "seed", "main", "by")
        report: dict[str, Any] = {name: getattr(self, name) for name in names}
        report |= {"made_up": self.made_up, "unlabelled": self.unlabelled}
        report |= {"summary": plain_json(self.summary)}
        if per_query:
            report["queries"] = [{"id": query.id, "query": query.text} for query in self.queries]
            report["rewrites"] = self.rewrites
            arrays = {"values": self.values, "identity": self.identity, "oracle": self.oracle}
            report |= {name: plain_json({key: list(a) for key, a in part.items()}) for name, part in arrays.items()}
        return report


def plain_json(value: object) -> Any:
    """The value with numpy numbers as Python numbers, and NaN and infinities as None, which JSON can hold."""
    if isinstance(value, Mapping):
        return {key: plain_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def changes(values: Array, identity: Array) -> dict[str, Array]:
    """`better`, `worse` and `same` as 0 / 1, (N,) each; NaN where the change is undefined."""
    gain = values - identity
    sides = {"better": gain > SAME, "worse": gain < -SAME, "same": np.abs(gain) <= SAME}
    return {name: np.where(np.isnan(gain), np.nan, side) for name, side in sides.items()}


def summarise(
    values: Mapping[str, Array],
    identity: Mapping[str, Array],
    oracle: Mapping[str, Array],
    main: str,
    queries: Sequence[Query],
    slices: Mapping[str, Mask],
    resamples: int = 2000,
    seed: int = 0,
) -> Summary:
    """The report of each slice; its form is in the module docstring."""
    traffic_N = np.array([query.frequency for query in queries], np.float64)
    all_figures = _Figures(values, identity, oracle, main, traffic_N)
    return {name: all_figures.report(mask, resamples, seed) for name, mask in slices.items()}


class _Figures:
    """All figures as columns of one matrix, so that one resampling serves all: agent, identity, then oracle."""

    def __init__(
        self,
        values: Mapping[str, Array],
        identity: Mapping[str, Array],
        oracle: Mapping[str, Array],
        main: str,
        traffic_N: Array,
    ) -> None:
        self.names = [main, f"traffic {main}", *(name for name in values if name != main)]
        self.traffic_N = traffic_N
        pairs = [(values[source], identity[source]) for source in (main, main, *self.names[2:])]
        # A figure that one side does not define is left out of both, so that the difference is over the same queries.
        defined = [~(np.isnan(agent) | np.isnan(raw)) for agent, raw in pairs]
        sides = [[np.where(ok, pair[side], np.nan) for pair, ok in zip(pairs, defined, strict=True)] for side in (0, 1)]
        self.oracles = [oracle[name] for name in ("replace", "combined") if name in oracle]
        self.columns_NF = np.stack([*sides[0], *sides[1], *self.oracles], axis=1)
        self.weights_NF = np.ones_like(self.columns_NF)
        self.weights_NF[:, [1, 1 + len(self.names)]] = traffic_N[:, None]

    def report(self, mask: Mask, resamples: int, seed: int) -> dict[str, Any]:
        """Report of one slice."""
        columns, weights = self.columns_NF[mask], self.weights_NF[mask]
        means_F = weighted_means(columns, weights)
        means_RF = resampled_means(columns, weights, resamples, seed)
        total = float(self.traffic_N.sum())
        return {
            "queries": int(mask.sum()),
            "traffic": float(self.traffic_N[mask].sum() / total) if total else float("nan"),
            "metrics": self._metrics(columns, means_F, means_RF),
            "headroom": self._headroom(means_F, means_RF) if self.oracles else None,
        }

    def _metrics(self, columns: Array, means_F: Array, means_RF: Array) -> dict[str, dict[str, float]]:
        m = len(self.names)
        counts_F = (~np.isnan(columns)).sum(axis=0)
        report = {}
        for at, name in enumerate(self.names):
            low, high = interval(means_RF[:, at] - means_RF[:, m + at])
            mean, raw = float(means_F[at]), float(means_F[m + at])
            report[name] = {"mean": mean, "identity": raw, "difference": mean - raw, "low": low, "high": high}
            report[name]["queries"] = int(counts_F[at])
        return report

    def _headroom(self, means_F: Array, means_RF: Array) -> dict[str, float]:
        m = len(self.names)
        low, high = interval(headroom_closed(means_RF[:, 0], means_RF[:, m], means_RF[:, 2 * m]))
        share = float(headroom_closed(means_F[0], means_F[m], means_F[2 * m]))
        report = {"share": share, "low": low, "high": high, "identity": float(means_F[m])}
        return report | {"oracle": float(means_F[2 * m]), "oracle_combined": float(means_F[2 * m + 1])}


def headroom_closed(agent: npt.ArrayLike, identity: npt.ArrayLike, oracle: npt.ArrayLike) -> Array:
    """Share of the headroom closed, (agent − identity) / (oracle − identity); NaN where there is no headroom."""
    room = np.asarray(oracle, np.float64) - np.asarray(identity, np.float64)
    gain = np.asarray(agent, np.float64) - np.asarray(identity, np.float64)
    return np.divide(gain, room, out=np.full(np.shape(room), np.nan), where=room > SAME)


def weighted_means(columns_NF: Array, weights_NF: npt.ArrayLike = 1.0) -> Array:
    """Weighted means of the columns over the queries that define them, (F,); NaN where none does."""
    weights_NF = np.where(np.isnan(columns_NF), 0.0, weights_NF)
    sums_F, total_F = (np.nan_to_num(columns_NF) * weights_NF).sum(axis=0), weights_NF.sum(axis=0)
    return np.divide(sums_F, total_F, out=np.full(len(sums_F), np.nan), where=total_F > 0)
