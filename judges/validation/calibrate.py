"""Validation of a judge against human grades or known truth; `qr judge calibrate` prints and draws the report.

    sample = labelled_sample(shop, ("dev",), pairs=2_000, seed=0, retriever=bm25)     # judges/validation/samples.py
    report = calibrate(open_judge("embedding", shop), shop, sample)     # a plain dict, ready for JSON

`judges/validation/agreement.py` defines agreement, AUC and calibration error. Biases, all in expected ESCI gain at
equal query and true level:

- order    every list is graded twice, as it is and reversed; bias is the mean of (gain when early − gain when late),
           shift the mean |difference|, flips the share of pairs whose most probable level changed
- length   change for a text twice as long (words that the judge reads)
- words    change between a text with none and one with all of the query's words

Calibrators are fitted on one half of the queries and reported on the other: temperature (Guo et al. 2017, probabilities
to the power 1/T) and isotonic (Zadrozny & Elkan 2002, for each of "at least Complement, Substitute, Exact" on the
judge's expected level; the three fits use the same order, so they never cross).
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from judges.validation import agreement as agree
from judges.validation.calibrators import fit_isotonic, fit_temperature
from judges.validation.samples import GradedSample, Sample, grade_in_order, grade_sample, pair_judge_of
from qr_env.common.protocols import Judge
from qr_env.common.types import GAINS, LEVELS, SUBSTITUTE
from qr_env.retrieval.encoder import product_texts
from qr_env.shop.shop import Shop

Array = npt.NDArray[np.float64]
ORDER_PAIRS = 500  # pairs graded a second time, in reversed lists
LENGTH_BINS = 6


def calibrate(judge: Judge, shop: Shop, sample: Sample, seed: int = 0, progress: bool = False) -> dict[str, Any]:
    """The full report on a judge, as plain values; NaN where a metric is not defined."""
    judge.grade(sample.queries[:1], sample.rows_PK[:1, :1])  # loads models, which is not the judge's speed
    graded = grade_sample(judge, sample.queries, sample.rows_PK, progress)
    known_PK = (sample.levels_PK >= 0) & ~np.isnan(graded.probs_PK4[..., 0])
    query_M, _ = np.nonzero(known_PK)
    levels_M = sample.levels_PK[known_PK].astype(np.int64)
    probs_M4 = graded.probs_PK4[known_PK].astype(np.float64)
    relevance_M = probs_M4[:, SUBSTITUTE:].sum(axis=1)
    weights_RP = agree.resample_weights(len(sample.queries), seed)
    matrix_P44 = agree.confusion(levels_M, probs_M4.argmax(axis=1), query_M, len(sample.queries))
    report = {
        "judge": judge.name,
        "pairs": sample.pairs,
        "queries": len(sample.queries),
        "missing": {"share": 1 - len(levels_M) / sample.pairs, "kinds": _missing_kinds(graded.counts)},
        "speed": _speed(graded, len(levels_M)),
        "figures": _as_dicts(agree.agreement(levels_M, probs_M4, query_M, weights_RP)),
        "confusion": matrix_P44.sum(axis=0).astype(int).tolist(),
        "reliability": agree.reliability(relevance_M, levels_M >= SUBSTITUTE),
        "order": order_bias(judge, shop, sample, seed),
        "calibrators": calibrator_report(levels_M, probs_M4, query_M, len(sample.queries), seed),
    }
    gain_M = probs_M4 @ GAINS.astype(np.float64)
    for name, x_PK in text_features(judge, shop, sample).items():
        slope_R = agree.slope_at_equal_level(x_PK[known_PK], gain_M, levels_M, query_M, weights_RP)
        curves = gain_curves(x_PK[known_PK], gain_M, levels_M)
        report[name] = {"bias": asdict(agree.Estimate.of(slope_R)), "gain": curves}
    return report


def _as_dicts(estimates: dict[str, agree.Estimate]) -> dict[str, dict[str, float]]:
    return {name: asdict(estimate) for name, estimate in estimates.items()}


def _missing_kinds(counts: dict[str, float]) -> dict[str, float]:
    """Number of missing verdicts by reason, as the judge counted them."""
    return {name.removeprefix("missing/"): n for name, n in counts.items() if name.startswith("missing/") and n}


def _speed(graded: GradedSample, verdicts: int) -> dict[str, float]:
    """Verdicts a second, and tokens per 1,000 verdicts where the judge counts tokens."""
    speed = {"verdicts/s": verdicts / max(graded.seconds, 1e-9), "seconds": graded.seconds}
    tokens = sum(graded.counts.get(name, 0.0) for name in ("tokens", "tokens/prompt", "tokens/completion"))
    speed["share from store"] = graded.counts.get("store/hits", 0.0) / max(1, verdicts)
    return speed | ({"tokens/1000": 1000 * tokens / max(1, verdicts)} if tokens else {})


def text_features(judge: Judge, shop: Shop, sample: Sample) -> dict[str, Array]:
    """(P, K) features of each pair: "length", log2 of the text's words; "words", share of the query's words in it."""
    pair_judge = pair_judge_of(judge)
    texts = pair_judge.product_texts(shop) if pair_judge is not None else product_texts(shop)
    words_of = {row: _words(texts[row]) for row in np.unique(sample.rows_PK[sample.rows_PK >= 0]).tolist()}
    sets: dict[int, set[str]] = {-1: set()} | {row: set(words) for row, words in words_of.items()}
    length = {-1: np.nan} | {row: np.log2(1 + len(words)) for row, words in words_of.items()}
    query_words = [set(_words(query.text)) for query in sample.queries]
    lines = list(zip(query_words, sample.rows_PK.tolist(), strict=True))
    return {
        "length": np.array([[length[row] for row in rows_K] for _, rows_K in lines]),
        "words": np.array([[len(words & sets[row]) / max(1, len(words)) for row in rows_K] for words, rows_K in lines]),
    }


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def order_bias(judge: Judge, shop: Shop, sample: Sample, seed: int = 0) -> dict[str, Any] | None:
    """Bias, shift and flips of the module docstring, on the first lists; None where no pair was graded twice."""
    lists = max(1, int((np.cumsum((sample.levels_PK >= 0).sum(axis=1)) <= ORDER_PAIRS).sum()))
    part = sample[:lists]
    size_P1 = (part.rows_PK >= 0).sum(axis=1, keepdims=True)
    place_PK = np.broadcast_to(np.arange(part.rows_PK.shape[1]), part.rows_PK.shape)
    reversed_PK = np.where(place_PK < size_P1, size_P1 - 1 - place_PK, place_PK)
    first_PK4 = grade_in_order(judge, shop, part.queries, part.rows_PK)
    reversed_rows = np.take_along_axis(part.rows_PK, reversed_PK, axis=1)[::-1]
    second_PK4 = grade_in_order(judge, shop, part.queries[::-1], reversed_rows)[::-1]
    second_PK4 = np.take_along_axis(second_PK4, reversed_PK[..., None], axis=1)
    both_PK = (part.levels_PK >= 0) & ~np.isnan(first_PK4[..., 0]) & ~np.isnan(second_PK4[..., 0])
    if not both_PK.any():
        return None
    query_M, _ = np.nonzero(both_PK)
    first, second = first_PK4[both_PK], second_PK4[both_PK]
    early_M = np.sign(size_P1 - 1 - 2 * place_PK)[both_PK]  # 1: early in the first grading, late in the second
    change_M = (first - second) @ GAINS.astype(np.float64)
    weights_RP = agree.resample_weights(lists, seed)
    flips_M = (first.argmax(axis=1) != second.argmax(axis=1)).astype(np.float64)
    moved = early_M != 0
    values = {
        "bias": agree.mean_by_query((change_M * early_M)[moved], query_M[moved], weights_RP),
        "shift": agree.mean_by_query(np.abs(change_M), query_M, weights_RP),
        "flips": agree.mean_by_query(flips_M, query_M, weights_RP),
    }
    return {"pairs": len(query_M)} | {name: asdict(agree.Estimate.of(values_R)) for name, values_R in values.items()}


def gain_curves(x_M: Array, gain_M: Array, levels_M: npt.NDArray[np.int64]) -> dict[str, list[list[float]]]:
    """Level → [mean x, mean expected gain, pairs] over bins of x with about equal numbers of pairs."""
    edges = np.unique(np.quantile(x_M, np.linspace(0, 1, LENGTH_BINS + 1))[1:-1]) if len(x_M) else np.zeros(0)
    bin_M = np.searchsorted(edges, x_M, side="right")
    curves: dict[str, list[list[float]]] = {}
    for level, name in enumerate(LEVELS):
        masks = [(levels_M == level) & (bin_M == b) for b in range(len(edges) + 1)]
        curves[name] = [[float(x_M[m].mean()), float(gain_M[m].mean()), int(m.sum())] for m in masks if m.any()]
    return curves


def calibrator_report(
    levels_M: npt.NDArray[np.int64], probs_M4: Array, query_M: npt.NDArray[np.int64], queries: int, seed: int
) -> dict[str, Any]:
    """Metrics on one half of the queries: as is, and after each calibrator fitted on the other; {} for one query."""
    fitted_P = np.zeros(queries, np.bool_)
    fitted_P[np.random.default_rng(seed).permutation(queries)[: queries // 2]] = True
    fit_M = fitted_P[query_M]
    if not fit_M.any() or fit_M.all():
        return {}
    temperature = fit_temperature(levels_M[fit_M], probs_M4[fit_M])
    isotonic = fit_isotonic(levels_M[fit_M], probs_M4[fit_M])
    test_M4 = probs_M4[~fit_M]
    calibrated = {"as is": test_M4, "temperature": temperature(test_M4), "isotonic": isotonic(test_M4)}
    levels, query = levels_M[~fit_M], query_M[~fit_M]
    weights_RP = agree.resample_weights(queries, seed) * ~fitted_P
    out: dict[str, Any] = {"pairs fitted": int(fit_M.sum()), "pairs reported": len(levels)}
    for name, probs in calibrated.items():
        curve = agree.reliability(probs[:, SUBSTITUTE:].sum(axis=1), levels >= SUBSTITUTE)
        out[name] = {"figures": _as_dicts(agree.agreement(levels, probs, query, weights_RP)), "reliability": curve}
    out["temperature"]["value"] = temperature.temperature
    return out
