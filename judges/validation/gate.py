"""Quality gate: a judge whose agreement with human grades is too low is refused, or its learning rate is reduced.

    gate = Gate(min_kappa=0.2)
    result = gate.check(judge, shop)             # GateResult(kappa=0.31, low=0.22, high=0.39, passed=True, weight=1.0)
    gate.check(judge, shop, shown=(queries, rows_NK))     # during training, on the policy's current result lists
    gate.enforce(result)                         # JudgeError when refused

κ is Cohen's, of the judge's most probable level against the shop's own grades, on train and dev queries **only**: test
labels are for reporting, and a gate that used them would select the judge by them. Where no such labels exist (Icecat
has test labels alone), agreement is unknown: give graded pairs of your own (`labels`; in `qr online`
`judging.kappa_labels`), or accept the judge unchecked with min_kappa 0.

A judge passes when κ ≥ min_kappa and, where min_pair_accuracy is set, when it orders at least that share of two
products of one query as their grades do (`agreement.pair_accuracy`; chance is 0.5). With `on_fail="downweight"` a judge
below a minimum is used with weight max(0, κ / min_kappa) · max(0, (a − ½) / (min_pair_accuracy − ½)), a its pair
accuracy, each factor at most 1; the weight multiplies the learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from judges.validation.agreement import Estimate, agreement, resample_weights
from judges.validation.graded_pairs import read_graded_pairs
from judges.validation.samples import Sample, grade_sample, group_by_query, labelled_sample
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.protocols import Judge, Retriever
from qr_env.common.types import Query, RowArray
from qr_env.evaluation.made_up import typed_queries
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop

SPLITS = ("train", "dev")  # never test
CHANCE = 0.5  # pair accuracy of a judge that guesses
UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))
MIN_PAIRS = 30  # graded pairs with a verdict below which agreement is unknown


@dataclass(frozen=True, slots=True)
class GateResult:
    """Agreement of a judge, and what follows from it."""

    judge: str
    """name of the judge"""
    kappa: float
    """Cohen's κ, NaN where unknown"""
    low: float
    """lower end of its 95 % interval over queries"""
    high: float
    """upper end of the interval"""
    pairs: int
    """graded pairs with a verdict"""
    passed: bool
    """whether κ and pair accuracy reach their minimum"""
    weight: float
    """factor of the learning rate, in [0, 1]"""
    pair_accuracy: float = float("nan")
    """share of two products of one query that are ordered as the grades are, NaN where unknown; chance is 0.5"""

    @property
    def known(self) -> bool:
        """Whether there were enough graded pairs."""
        return bool(np.isfinite(self.kappa))

    def metrics(self) -> dict[str, float]:
        """For a run's log."""
        return {"judge/kappa": self.kappa, "judge/kappa_low": self.low, "judge/weight": self.weight} | {
            "judge/pair_accuracy": self.pair_accuracy
        }

    def __str__(self) -> str:
        if not self.known:
            return f"judge {self.judge}: agreement unknown ({self.pairs} graded pairs)"
        kappa = f"κ {self.kappa:.3f} [{self.low:.3f} {self.high:.3f}]"
        return f"judge {self.judge}: {kappa}, pair accuracy {self.pair_accuracy:.3f}, on {self.pairs:,} pairs"


@dataclass(frozen=True)
class Gate:
    """Condition under which a judge may train a policy. Raises ConfigError for an impossible setting."""

    min_kappa: float = 0.0
    """least agreement; 0 passes every judge and needs no labels"""
    min_pair_accuracy: float = 0.0
    """least share of two products of one query that must be ordered as the grades are; 0 passes every judge"""
    on_fail: Literal["refuse", "downweight"] = "refuse"
    """a judge below one of them: "refuse" raises in `enforce`, "downweight" reduces the learning rate"""
    pairs: int = 1_000
    """graded pairs of a check"""
    seed: int = 0
    """draws them"""
    labels: Path | None = None
    """file of graded pairs (`judges/validation/graded_pairs.py`) that replaces the shop's own grades, without its test
    queries; all pairs are used, and the file is read again at each check, so that grading may go on during training"""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """how that file is read"""

    def __post_init__(self) -> None:
        if not 0 <= self.min_kappa <= 1:
            raise ConfigError(f"min_kappa={self.min_kappa}: κ of a useful judge is between 0 and 1")
        if self.min_pair_accuracy and not 0.5 < self.min_pair_accuracy <= 1:
            raise ConfigError(
                f"min_pair_accuracy={self.min_pair_accuracy}: 0.5 is chance, 1 is perfect; 0 asks for none"
            )
        if self.on_fail not in ("refuse", "downweight"):
            raise ConfigError(f"on_fail={self.on_fail!r}: must be 'refuse' or 'downweight'")

    @property
    def is_open(self) -> bool:
        """Whether every judge passes unchecked."""
        return not self.min_kappa and not self.min_pair_accuracy

    def check(
        self,
        judge: Judge,
        shop: Shop,
        shown: tuple[Sequence[Query], RowArray] | None = None,
        retriever: Retriever | None = None,
    ) -> GateResult:
        """Grade human-graded pairs with the judge and compare.

        shown: queries and (N, K) product rows of the policy's current result lists; up to `pairs` graded pairs of them
            are used, so that the check is about rewarded lists. Ignored with `labels`.
        retriever: finds products in a shop that knows every grade; None takes products that are not Irrelevant.
        """
        sample = self._sample(shop, shown, retriever)
        if sample is None:
            return self._result(judge.name, UNKNOWN, UNKNOWN, 0)
        probs_PK4 = grade_sample(judge, sample.queries, sample.rows_PK).probs_PK4
        graded_PK = (sample.levels_PK >= 0) & ~np.isnan(probs_PK4[..., 0])
        query_M, _ = np.nonzero(graded_PK)
        if len(query_M) < MIN_PAIRS:
            return self._result(judge.name, UNKNOWN, UNKNOWN, len(query_M))
        weights_RP = resample_weights(len(sample.queries), self.seed)
        figures = agreement(sample.levels_PK[graded_PK].astype(np.int64), probs_PK4[graded_PK], query_M, weights_RP)
        return self._result(judge.name, figures["kappa"], figures["pair accuracy"], len(query_M))

    def enforce(self, result: GateResult) -> GateResult:
        """The result, or JudgeError when the judge is refused."""
        if result.passed or (result.known and self.on_fail == "downweight"):
            return result
        if not result.known:
            raise JudgeError(
                f"{result}; at least {MIN_PAIRS} of train or dev queries are needed (test labels are for reporting): "
                "give graded pairs of your own (kappa_labels=FILE), or use it unchecked with min_kappa 0"
            )
        least = f"min_kappa {self.min_kappa:g}"
        if self.min_pair_accuracy:
            least += f" or min_pair_accuracy {self.min_pair_accuracy:g}"
        raise JudgeError(
            f"{result}: below {least}; take another judge (qr judge calibrate compares them), "
            "reduce its weight (low_kappa='downweight'), or lower the minimum"
        )

    def _result(self, name: str, kappa: Estimate, pair_accuracy: Estimate, pairs: int) -> GateResult:
        """`passed` and `weight` by the module docstring; unknown agreement passes only an open gate."""
        shares = []
        if self.min_kappa:
            shares.append(kappa.value / self.min_kappa)
        if self.min_pair_accuracy:
            shares.append((pair_accuracy.value - CHANCE) / (self.min_pair_accuracy - CHANCE))
        weight = float(np.prod(np.clip(np.nan_to_num(shares), 0, 1)))
        passed = all(share >= 1 for share in shares)  # NaN passes nothing
        return GateResult(name, kappa.value, kappa.low, kappa.high, pairs, passed, weight, pair_accuracy.value)

    def _sample(
        self, shop: Shop, shown: tuple[Sequence[Query], RowArray] | None, retriever: Retriever | None
    ) -> Sample | None:
        """Graded pairs of train and dev queries, or None where there are none."""
        if self.labels is not None:
            sample = read_graded_pairs(self.labels, shop, LoadReport(self.reading), without=("test",))
            return sample if sample.pairs else None
        if shown is not None:
            return _graded_pairs_shown(shop, *shown, self.pairs, self.seed)
        try:
            return labelled_sample(shop, SPLITS, self.pairs, self.seed, retriever)
        except JudgeError:
            return None


def _graded_pairs_shown(
    shop: Shop, queries: Sequence[Query], rows_NK: RowArray, pairs: int, seed: int
) -> Sample | None:
    """Distinct graded pairs of some lists, without those of test queries and of queries made from the catalogue."""
    usable = {query.row for query in typed_queries(shop, shop.all_queries) if query.split in SPLITS}
    lines_N = np.array([query.row if query.row in usable else -1 for query in queries], np.int64)
    graded_NK = shop.levels(lines_N, rows_NK) >= 0
    line_M, _ = np.nonzero(graded_NK)
    if not len(line_M):
        return None
    pairs_M2 = np.unique(np.stack([lines_N[line_M], rows_NK[graded_NK]], axis=1), axis=0)
    chosen_M2 = np.random.default_rng(seed).permutation(pairs_M2)[:pairs]
    return group_by_query(shop, chosen_M2[:, 0], chosen_M2[:, 1])
