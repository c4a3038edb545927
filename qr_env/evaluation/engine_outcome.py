"""The outcome of a comparison of search engines: figures of each, the choice, and what to do in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qr_env.evaluation.bootstrap import interval, resampled_means
from qr_env.retrieval.bm25 import BM25Settings
from qr_env.retrieval.bm25_spec import bm25_spec, fields_text

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of means with its 95 % bootstrap interval."""

    value: float
    """on the sample"""
    low: float
    """lower end of the interval"""
    high: float
    """upper end of the interval"""

    @classmethod
    def of(cls, values_P: Array, seed: int) -> Difference:
        """Mean of one difference a query; NaN where a query has none."""
        known_P = values_P[~np.isnan(values_P)]
        if not len(known_P):
            return cls(float("nan"), float("nan"), float("nan"))
        return cls(float(known_P.mean()), *interval(resampled_means(known_P[:, None], seed=seed)[:, 0]))

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One engine and its figures."""

    settings: BM25Settings
    """of its BM25"""
    is_hybrid: bool
    """whether its list is fused with dense retrieval"""
    judged: float
    """mean nDCG@10 by the judge"""
    difference: Difference
    """in the judge's nDCG@10 from the baseline"""
    labelled: dict[str, float]
    """metric → mean by human grades or the known truth; empty without labels"""

    @property
    def spec(self) -> str:
        """The name for --retriever."""
        return ("hybrid:" if self.is_hybrid else "") + bm25_spec(self.settings)

    def to_json(self) -> dict[str, object]:
        """All figures as JSON values."""
        low, high = self.difference.low, self.difference.high
        return {
            "retriever": self.spec, "judged nDCG@10": self.judged, "difference": self.difference.value,
            "interval": [low, high], "labels": self.labelled,
        }  # fmt: skip


@dataclass(frozen=True)
class EngineCheck:
    """The outcome of `qr_env.evaluation.engine_check.check_engines`."""

    judge: str
    """name of the judge"""
    queries: int
    """number of queries with a figure"""
    baseline: Candidate
    """the BM25 in use"""
    best: Candidate
    """the choice among BM25 engines"""
    gain: Difference
    """cross-fitted gain of the choice over the baseline, in the judge's nDCG@10"""
    candidates: tuple[Candidate, ...]
    """all engines, best figure first"""
    labelled_gain: dict[str, Difference]
    """metric → difference of the choice from the baseline by labels; empty without labels"""
    agreement: dict[str, float]
    """metric → share of the pairs of BM25 engines that judge and labels order the same way; empty without labels"""

    @property
    def is_clear(self) -> bool:
        """Whether the choice differs from the baseline and its gain's interval is above zero."""
        return self.best.spec != self.baseline.spec and self.gain.low > 0

    @property
    def served(self) -> Candidate:
        """The engine to use: the choice if it is clear, else the baseline."""
        return self.best if self.is_clear else self.baseline

    def sentence(self) -> str:
        """What to do, in one sentence."""
        by = f"nDCG@10 by judge {self.judge!r}, {self.queries:,} queries"
        if not self.is_clear:
            return f"keep {self.baseline.spec}: no setting is clearly better ({self.gain} {by})"
        changes = _changes(self.baseline.settings, self.best.settings)
        return f"{changes}: {self.gain} {by}; qr online SHOP --retriever {self.best.spec}"

    def to_json(self) -> dict[str, object]:
        """Everything as JSON values."""
        return {
            "judge": self.judge,
            "queries": self.queries,
            "sentence": self.sentence(),
            "is clear": self.is_clear,
            "baseline": self.baseline.to_json(),
            "best": self.best.to_json(),
            "gain": [self.gain.value, self.gain.low, self.gain.high],
            "gain by labels": {name: [d.value, d.low, d.high] for name, d in self.labelled_gain.items()},
            "pairs ordered as by labels": self.agreement,
            "candidates": [candidate.to_json() for candidate in self.candidates],
        }


def _changes(baseline: BM25Settings, best: BM25Settings) -> str:
    """What to change, such as "index the description, title weight 10"."""
    old, new = dict(baseline.fields), dict(best.fields)
    parts = [f"index the {name}" for name in new if name not in old]
    parts += [f"leave out the {name}" for name in old if name not in new]
    if old.get("title") != new["title"]:
        parts.append(f"title weight {new['title']}")
    parts += [
        f"{name} {getattr(best, name):g}" for name in ("k1", "b") if getattr(best, name) != getattr(baseline, name)
    ]
    return ", ".join(parts) or fields_text(best)
