"""The gate: a judge whose agreement with people is too low does not teach, or teaches with less weight.

    gate = Gate(min_kappa=0.2)
    result = gate.check(judge, shop)             # GateResult(kappa=0.31, low=0.22, high=0.39, passed=True, weight=1.0)
    gate.check(judge, shop, shown=(queries, rows_NK))     # again while learning, on what the policy shows now
    gate.enforce(result)                         # JudgeError when refused

κ is Cohen's, of the judge's most probable level against the shop's own grades, on train and dev queries **only**: test
labels report, and a gate that looked at them would choose the judge by them. Where no such labels exist (Icecat has
test labels alone), agreement is unknown: give graded pairs of your own (`labels`, `qr online --kappa-labels`), or say
with min_kappa 0 that the judge is used unseen.

A judge passes when κ ≥ min_kappa; with `on_fail="weigh"` a judge below it is used with weight max(0, κ / min_kappa),
by which its reward (or its vote in an ensemble) is to be multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from judges.validation.agreement import agreement, resample_weights
from judges.validation.samples import Sample, ask, in_lists, labelled_sample
from qr_env.common.errors import ConfigError, DataError, JudgeError
from qr_env.common.protocols import Judge, Retriever
from qr_env.common.types import LEVELS, Query, RowArray
from qr_env.shop.shop import Shop

SPLITS = ("train", "dev")  # never test
FEW = 30  # graded pairs with a verdict below which agreement is called unknown


@dataclass(frozen=True, slots=True)
class GateResult:
    """κ with its 95 % interval over queries, NaN where unknown; pairs it rests on; whether the judge may teach, and
    with which weight in [0, 1]."""

    judge: str
    kappa: float
    low: float
    high: float
    pairs: int
    passed: bool
    weight: float

    @property
    def known(self) -> bool:
        """Whether there were enough graded pairs to tell."""
        return bool(np.isfinite(self.kappa))

    def metrics(self) -> dict[str, float]:
        """For the log of a run."""
        return {"judge/kappa": self.kappa, "judge/kappa_low": self.low, "judge/weight": self.weight}

    def __str__(self) -> str:
        if not self.known:
            return f"judge {self.judge}: agreement unknown ({self.pairs} graded pairs)"
        return f"judge {self.judge}: κ {self.kappa:.3f} [{self.low:.3f} {self.high:.3f}] on {self.pairs:,} pairs"


@dataclass(frozen=True)
class Gate:
    """When a judge may teach. Raises ConfigError for an impossible setting.

    min_kappa: least agreement; 0 lets every judge pass, and needs no labels.
    on_fail: "refuse" raises in `enforce`; "weigh" lets the judge in with a smaller weight.
    pairs: graded pairs asked about. seed: draws them.
    labels: a file of graded pairs (CSV, TSV, JSONL, Parquet: query, product_id, level 0 … 3 or its name), instead of
        the shop's own grades; the shop's test queries in it are left out. All of its pairs are asked about; it is read
        anew at each check, so that one may go on grading while a policy learns.
    """

    min_kappa: float = 0.0
    on_fail: Literal["refuse", "weigh"] = "refuse"
    pairs: int = 1_000
    seed: int = 0
    labels: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_kappa <= 1:
            raise ConfigError(f"min_kappa={self.min_kappa}: κ of a useful judge is between 0 and 1")
        if self.on_fail not in ("refuse", "weigh"):
            raise ConfigError(f"on_fail={self.on_fail!r}: must be 'refuse' or 'weigh'")

    def check(
        self,
        judge: Judge,
        shop: Shop,
        shown: tuple[Sequence[Query], RowArray] | None = None,
        retriever: Retriever | None = None,
    ) -> GateResult:
        """Ask the judge about graded pairs and compare.

        shown: queries and (N, K) product rows of lists that the policy finds now; those pairs of them that are graded
            are taken, up to `pairs`, so that the check is about what the policy is paid for. Not with `labels`.
        retriever: finds the products of a shop that knows its whole truth; None takes such as are not Irrelevant.
        """
        sample = self._sample(shop, shown, retriever)
        if sample is None:
            return self._result(judge.name, (float("nan"),) * 3, 0)
        probs_QK4 = ask(judge, sample.queries, sample.rows_QK).probs_QK4
        graded_QK = (sample.levels_QK >= 0) & ~np.isnan(probs_QK4[..., 0])
        query_M, _ = np.nonzero(graded_QK)
        if len(query_M) < FEW:
            return self._result(judge.name, (float("nan"),) * 3, len(query_M))
        weights_RQ = resample_weights(len(sample.queries), self.seed)
        figures = agreement(sample.levels_QK[graded_QK].astype(np.int64), probs_QK4[graded_QK], query_M, weights_RQ)
        kappa = figures["kappa"]
        return self._result(judge.name, (kappa.value, kappa.low, kappa.high), len(query_M))

    def enforce(self, result: GateResult) -> GateResult:
        """The result, or JudgeError when the judge is refused."""
        if result.passed or (result.known and self.on_fail == "weigh"):
            return result
        if not result.known:
            raise JudgeError(
                f"{result}; at least {FEW} of train or dev queries are needed (test labels are for reporting): give "
                "graded pairs of your own (--kappa-labels FILE), or use it unseen with --min-kappa 0"
            )
        raise JudgeError(
            f"{result}: below --min-kappa {self.min_kappa:g}; take another judge (qr judge calibrate compares them), "
            "let it teach with less weight, or lower the bar"
        )

    def _result(self, name: str, kappa: tuple[float, float, float], pairs: int) -> GateResult:
        """`passed` and `weight` by the module docstring; unknown passes only a bar of 0."""
        if self.min_kappa == 0:
            return GateResult(name, *kappa, pairs, passed=True, weight=1.0)
        if not np.isfinite(kappa[0]):
            return GateResult(name, *kappa, pairs, passed=False, weight=0.0)
        weight = float(np.clip(kappa[0] / self.min_kappa, 0, 1))
        return GateResult(name, *kappa, pairs, passed=kappa[0] >= self.min_kappa, weight=weight)

    def _sample(
        self, shop: Shop, shown: tuple[Sequence[Query], RowArray] | None, retriever: Retriever | None
    ) -> Sample | None:
        """Graded pairs of train and dev queries, or None; pairs of one's own are asked about each time."""
        if self.labels is not None:
            sample = read_graded(self.labels, shop)
            return sample if sample.pairs else None
        if shown is not None:
            return _graded_of(shop, *shown, self.pairs, self.seed)
        try:
            return labelled_sample(shop, SPLITS, self.pairs, self.seed, retriever)
        except JudgeError:
            return None


def _graded_of(shop: Shop, queries: Sequence[Query], rows_NK: RowArray, pairs: int, seed: int) -> Sample | None:
    """The graded pairs of some lists, each once, without those of test queries."""
    lines_N = np.array([query.row if query.split in SPLITS else -1 for query in queries], np.int64)
    graded_NK = shop.levels(lines_N, rows_NK) >= 0
    line_M, _ = np.nonzero(graded_NK)
    if not len(line_M):
        return None
    pairs_M2 = np.unique(np.stack([lines_N[line_M], rows_NK[graded_NK]], axis=1), axis=0)
    chosen_M2 = np.random.default_rng(seed).permutation(pairs_M2)[:pairs]
    return in_lists(shop, chosen_M2[:, 0], chosen_M2[:, 1])


def read_graded(path: Path, shop: Shop) -> Sample:
    """Graded pairs from a file with the columns query (its text), product_id and level.

    Only of the shop's products, and not of its test queries. Raises DataError for a missing column, a level that is
    none, or a file of which no product is in the shop.
    """
    from qr_env.shop.readers.formats import read_chunks

    graded: dict[str, dict[int, int]] = {}
    for chunk in read_chunks(Path(path), lambda header: {name: name for name in header}):
        if missing := {"query", "product_id", "level"} - set(chunk.columns):
            raise DataError(f"{path}: no column {', '.join(sorted(missing))}; there are {', '.join(chunk.columns)}")
        columns = (chunk.columns[name].to_pylist() for name in ("query", "product_id", "level"))
        for query, product, level in zip(*columns, strict=True):
            if product in shop.product_row:
                graded.setdefault(query, {})[shop.product_row[product]] = _level(path, level)
    if not graded:
        raise DataError(f"{path}: none of its products is in {shop!r}")
    for query in shop.split("test"):
        graded.pop(query.text, None)
    known = {query.text: query for query in shop.all_queries}
    width = max(map(len, graded.values()), default=0)
    rows = [[*levels, *[-1] * (width - len(levels))] for levels in graded.values()]
    told = [[*levels.values(), *[-1] * (width - len(levels))] for levels in graded.values()]
    shape = (len(graded), width)
    rows_QK, levels_QK = np.array(rows, np.int32).reshape(shape), np.array(told, np.int8).reshape(shape)
    return Sample([known.get(text, Query(-1, "", text)) for text in graded], rows_QK, levels_QK)


def _level(path: Path, value: str) -> int:
    """0 … 3 from a number, a name or its first letter."""
    text = str(value).strip().lower()
    for level, name in enumerate(LEVELS):
        if text in (str(level), name.lower(), name[0].lower()):
            return level
    raise DataError(f"{path}: {value!r} is no level: 0 … 3, or one of {', '.join(LEVELS)}")
