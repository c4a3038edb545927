"""The degraded judge: the shop's true grades with the errors of a real judge, as many as a given κ allows.

    judge = DegradedJudge.calibrated(shop, DegradedOptions(kappa=0.4), retrieved_sample(shop, "train", bm25))
    grades = judge.grade(queries, hits.rows_NK)         # one-hot, as of a language model that replies with a grade

It measures what a judge's quality is worth: a policy learns from it, and its result is graded by the truth.

- **Which errors.** With the rates `JUMPS` of a continuous-time Markov chain over the levels, Q, the verdict on a pair
  of true level i is j with probability exp(s Q)[i, j]. Strength s = 0 is the truth; κ falls with s to 0. Near levels
  are confused more than far ones, and Substitutes are taken for Exact above all: judges overrate (MiniLM's similarity
  on this shop, `runs/results/judges.md`; LLM judges: Yu et al. 2026, arXiv 2602.17170).
- **How many.** `calibrated` finds s by bisection: Cohen's κ of the verdicts on the given pairs
  (`judges/validation/agreement.py`, nominal) is the one that is asked for.
- **A judge, not a dice.** The verdict on a pair never changes: its error is drawn by a hash of query text, product id
  and seed. It is the quantile Φ(z) of row i of exp(s Q) with z = √b · z_title + √(1−b) · z_pair, both standard normal.
  z_title is a sum over the words of the product's title, so that the judge likes some words whatever the query: an
  error that a policy can learn to exploit. b = 0 leaves errors that no policy can predict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import expm
from scipy.optimize import bisect
from scipy.special import ndtr, ndtri

from judges.simple.labels import LabelsJudge
from judges.validation.agreement import confusion, kappa
from judges.validation.samples import Sample
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.hashing import sha256_text
from qr_env.common.types import LEVELS, FloatArray, Grades, Query, RowArray
from qr_env.language.tokenize import Tokenizer
from qr_env.shop.shop import Shop

Array = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
# Rates from a level (row) to another (column): Irrelevant, Complement, Substitute, Exact. At κ = 0.4 on the generated
# shop's retrieved pairs 62 % of the Substitutes are graded Exact, and 14 % of the Exact ones Substitute.
JUMPS = np.array([[0, 0.02, 0.5, 0.05], [0.3, 0, 0.4, 0.6], [0.1, 0.02, 0, 1.2], [0.04, 0.01, 0.25, 0]])
BIAS = 0.5
LEAST_KAPPA = 0.05  # below, the κ of a sample says nothing about the strength
MAX_STRENGTH = 20.0  # κ is 0 there
TOLERANCE = 1e-4  # of the strength
MIN_PAIRS = 100  # for the calibration


@dataclass(frozen=True)
class DegradedOptions:
    """How good the judge is. Raises ConfigError for a value out of range."""

    kappa: float
    """Cohen's κ against the truth, 0.05 … 1"""
    seed: int = 0
    """of the errors"""
    bias: float = BIAS
    """share of the errors' variance that comes from words of the title, 0 … 1"""

    def __post_init__(self) -> None:
        if not LEAST_KAPPA <= self.kappa <= 1 or not 0 <= self.bias <= 1:
            raise ConfigError(
                f"degraded judge with κ {self.kappa:g} and bias {self.bias:g}: give κ from {LEAST_KAPPA:g} to 1 and a "
                "bias from 0 to 1: degraded:0.4, degraded:KAPPA:SEED:BIAS"
            )

    @classmethod
    def parse(cls, argument: str, seed: int = 0) -> DegradedOptions:
        """From "KAPPA[:SEED[:BIAS]]", the argument of judge `degraded`; `seed` where it holds none."""
        given = argument.split(":")
        defaults = [str(seed), str(BIAS)]
        try:
            kappa_text, seed_text, bias_text = given + defaults[len(given) - 1 :]
            return cls(float(kappa_text), int(seed_text), float(bias_text))
        except ValueError:
            raise ConfigError(
                f"judge 'degraded:{argument}': name a κ, then a seed and a bias: degraded:0.4:0:0.5"
            ) from None


class DegradedJudge:
    """The truth with errors of a given strength; missing where the truth is. `calibrated` makes one by its κ.

    Args:
        shop: holds the truth.
        options: seed and bias of the errors; the κ names the judge.
        strength: s of the module docstring, 0 or more.
        split: grade only queries of this split, as `LabelsJudge` does.
    """

    name = "degraded"

    def __init__(self, shop: Shop, options: DegradedOptions, strength: float, split: str | None = None) -> None:
        self.shop, self.options, self.strength = shop, options, strength
        self._truth = LabelsJudge(shop, split)
        self._seed_key = _key(f"pair {options.seed}")
        self._product_key_C = _keys(shop.products["product_id"].to_pylist())
        self._title_C = title_scores(shop.titles, shop.tokenizer, options.seed)

    @classmethod
    def calibrated(
        cls, shop: Shop, options: DegradedOptions, sample: Sample, split: str | None = None
    ) -> DegradedJudge:
        """The judge whose κ on the sample's pairs is `options.kappa`.

        Raises JudgeError where fewer than 100 of the pairs have a true grade.
        """
        judge = cls(shop, options, strength=0.0, split=split)
        levels_PK, quantile_PK = judge._errors(sample.queries, sample.rows_PK)
        known_PK = levels_PK >= 0
        levels_M, quantile_M = levels_PK[known_PK], quantile_PK[known_PK]
        if len(levels_M) < MIN_PAIRS:
            raise JudgeError(
                f"judge 'degraded': {shop!r} has true grades for {len(levels_M)} of the pairs that its κ is set on, "
                f"{MIN_PAIRS} are needed: use the generated shop, or one with labels of retrieved products"
            )

        def excess(strength: float) -> float:
            return sample_kappa(levels_M, degrade(levels_M, quantile_M, strength)) - options.kappa

        if options.kappa < 1:
            judge.strength = float(bisect(excess, 0.0, MAX_STRENGTH, xtol=TOLERANCE))
        return judge

    def for_shop(self, shop: Shop) -> DegradedJudge:
        """The same judge for another shop's products; the strength stays."""
        return DegradedJudge(shop, self.options, self.strength, self._truth.split)

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """One-hot verdicts, (N, K, 4); NaN where the truth is unknown, and on padding."""
        levels_NK, quantile_NK = self._errors(queries, rows_NK)
        verdicts_NK = degrade(levels_NK, quantile_NK, self.strength)
        probs_NK4 = np.eye(len(LEVELS), dtype=np.float32)[verdicts_NK]
        probs_NK4[levels_NK < 0] = np.nan
        return Grades(probs_NK4)

    def _errors(self, queries: Sequence[Query], rows_NK: RowArray) -> tuple[npt.NDArray[np.int64], Array]:
        """True level of each pair (−1 unknown) and the quantile at which its verdict is drawn, (N, K) each."""
        probs_NK4: FloatArray = self._truth.grade(queries, rows_NK).probs_NK4
        levels_NK = np.where(np.isnan(probs_NK4[..., 0]), -1, np.nan_to_num(probs_NK4).argmax(axis=-1))
        query_key_N = _keys([query.text for query in queries])
        rows_NK = np.maximum(rows_NK, 0)
        pair_NK = _mix(_mix(query_key_N ^ self._seed_key)[:, None] ^ self._product_key_C[rows_NK])
        bias = self.options.bias
        return levels_NK, ndtr(np.sqrt(bias) * self._title_C[rows_NK] + np.sqrt(1 - bias) * ndtri(_uniform(pair_NK)))


def confusion_probabilities(strength: float) -> Array:
    """(4, 4) probability of each verdict (column) by true level (row): exp(s Q) of the module docstring."""
    generator = JUMPS - np.diag(JUMPS.sum(axis=1))
    probabilities: Array = expm(strength * generator)
    return probabilities


def degrade(levels: npt.NDArray[np.integer], quantile: Array, strength: float) -> npt.NDArray[np.int64]:
    """The verdict on each pair: the given quantile, in (0, 1), of its true level's row; 0 where the level is −1."""
    at_most_44 = np.cumsum(confusion_probabilities(strength), axis=1)[:, :-1]
    verdicts: npt.NDArray[np.int64] = (quantile[..., None] > at_most_44[np.maximum(levels, 0)]).sum(axis=-1)
    return np.where(levels < 0, 0, verdicts)


def sample_kappa(levels_M: npt.NDArray[np.integer], verdicts_M: npt.NDArray[np.integer]) -> float:
    """Cohen's κ, nominal, of M verdicts against true levels."""
    return float(kappa(confusion(levels_M, verdicts_M, np.zeros(len(levels_M), np.int64), queries=1)[0]))


def title_scores(titles: Sequence[str], tokenizer: Tokenizer, seed: int) -> Array:
    """(C,) how much the judge likes a title whatever the query: the sum of a normal number for each of its distinct
    words, drawn by a hash of word and seed, over the root of their number; mean 0 and deviation 1 in the catalogue."""
    words_of = [sorted(set(tokenizer.terms(title))) for title in titles]
    vocabulary = sorted({word for words in words_of for word in words})
    liking_V = ndtri(_uniform(_mix(_keys(vocabulary) ^ _key(f"word {seed}"))))
    place = {word: n for n, word in enumerate(vocabulary)}
    scores_C = np.array([liking_V[[place[word] for word in words]].sum() / len(words) ** 0.5 if words else 0.0
                         for words in words_of])  # fmt: skip
    deviation = scores_C.std()
    return (scores_C - scores_C.mean()) / (deviation if deviation > 0 else 1.0)


def _key(text: str) -> np.uint64:
    return np.uint64(int(sha256_text(text, digits=16), 16))


def _keys(texts: Sequence[str]) -> Keys:
    """A 64-bit hash of each text."""
    return np.array([_key(text) for text in texts], np.uint64)


def _mix(keys: Keys) -> Keys:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): every bit of the key changes half of the bits."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def _uniform(keys: Keys) -> Array:
    """Numbers in (0, 1) from the 53 highest bits."""
    return ((keys >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
