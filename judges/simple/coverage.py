"""The coverage judge: the share of a query's words that a product's title holds; needs no labels, no weights, no GPU.

    judge = CoverageJudge(shop)
    grades = judge.grade(queries, hits.rows_NK)

The judge repairs the query itself (`qr_env.query_text.repair`): a unit of the query is held by its typed words or by
its repaired ones, whichever the title holds more of, by stem. With w_u the weight
of unit u and h_u ∈ [0, 1] what the title holds of it,

    coverage = Σ_u w_u h_u / Σ_u w_u,    w_u = Σ idf of the unit's words (the repaired ones where there are any)

A word counts once, however often query or title hold it, and only as far as it fits the rest of the title: a query's
words that were added to another product's title do not go with that title's own words. With R the title's words that
are not the query's, and lift(w, r) the number of other titles with both words over the number expected by chance,

    support(w) = Σ_{r ∈ R} idf_r · clip(log₂ lift(w, r) / 2, 0, 1) / Σ_{r ∈ R} idf_r
    fit(w) = 1 − evidence · (1 − clip((support(w) − 0.1) / 0.2, 0, 1))

`evidence` ∈ [0, 1] is small where R is small, where few other titles hold w, or where w has little support in the
titles that hold it anyway, as a color that goes with everything. What is held without fitting is told
apart by `coverage_and_unfitting`, for judges that are to distrust such titles. Where R itself is written to go with the
query (another product's whole title is appended), nothing is noticed, nor in scripts without spaces, where the terms of
one word support each other. The cumulative link model of `thresholds.py`
gives the levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from judges.simple.thresholds import Thresholds, level_probs
from judges.simple.title_words import TitleWords, Vocabulary
from qr_env.common.types import FloatArray, Grades, Query, RowArray
from qr_env.language.scripts import UNSPACED
from qr_env.query_text.repair import Repair
from qr_env.retrieval.encoder import product_texts
from qr_env.shop.shop import Shop

# Levels of a coverage: all words but a common one for Exact, more than half of the weight for Substitute.
THRESHOLDS = Thresholds(complement=0.35, substitute=0.55, exact=0.80, temperature=0.10)
FIT_SHARES = (0.10, 0.30)  # support at which fit starts to rise from 0, and at which it is 1
DOUBT = 2.0  # other titles with a word at which their evidence counts half
TYPICAL_REST = 0.5  # a title's other words are full evidence from this part of the median title's idf on
CACHE_SIZE = 1 << 16  # queries whose words are kept


@dataclass(frozen=True, slots=True)
class QueryWords:
    """The words of one query with their weights, as `coverage_kernel.fill_coverage` reads them."""

    term: npt.NDArray[np.int32]
    """number of each word; -1 is no word of the catalogue"""
    unit: npt.NDArray[np.int32]
    """unit that the word belongs to"""
    side: npt.NDArray[np.int32]
    """0 typed, 1 repaired"""
    share: FloatArray
    """the word's share in its side of the unit"""
    weight: FloatArray
    """share of each unit in the query"""


class CatalogueWords:
    """What the coverage judge knows of a catalogue: vocabulary and repair. Shared by the judges of its probe shops."""

    def __init__(self, shop: Shop) -> None:
        self.tokenizer = shop.tokenizer
        self.vocabulary = Vocabulary(product_texts(shop), shop.tokenizer)
        self.repair = Repair.of(shop)
        self.query_words = lru_cache(CACHE_SIZE)(self._query_words)

    @cached_property
    def arrays(self) -> tuple[npt.NDArray, ...]:
        """The catalogue's words as `coverage_kernel.fill_coverage` reads them: its argument `words`."""
        from judges.simple import coverage_kernel  # noqa: PLC0415 - loads numba

        known, matrix = self.vocabulary, self.vocabulary.together_VV
        together = (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)
        arrays = (*together, known.titles_with_V.astype(np.float32), known.idf(list(known.number)))
        usual_V = np.zeros(len(known.number), np.float32)
        fill: Callable[..., None] = coverage_kernel.fill_usual_support
        fill((known.titles.ptr, known.titles.terms), (*arrays, usual_V), float(known.size), usual_V)
        if self.tokenizer.language.code != "en":
            usual_V[[number for term, number in known.number.items() if UNSPACED.match(term)]] = 0
        return (*arrays, usual_V)

    @cached_property
    def median_weight(self) -> float:
        """Median over the titles of the idf of their words."""
        titles, idf_V = self.vocabulary.titles, self.arrays[4]
        before = np.concatenate([[0.0], np.cumsum(idf_V[titles.terms], dtype=np.float64)])
        weight_C = np.diff(before[titles.ptr])
        return float(np.median(weight_C)) if len(weight_C) else 1.0

    def _query_words(self, text: str) -> QueryWords:
        """The units of a query, each once."""
        sides = [(self._terms(unit.typed), self._terms(unit.repaired)) for unit in self.repair.units(text)]
        units = [(typed, repaired) for typed, repaired in dict.fromkeys(sides) if typed or repaired]
        idf_of = self.vocabulary.idf
        columns: list[tuple[int, int, int, float]] = []
        for number, unit in enumerate(units):
            for side, terms in enumerate(unit):
                shares = idf_of(terms) / max(float(idf_of(terms).sum()), 1e-9)
                columns += [
                    (self.vocabulary.number.get(term, -1), number, side, float(share))
                    for term, share in zip(terms, shares, strict=True)
                ]
        weight = np.array([idf_of(repaired or typed).sum() for typed, repaired in units], np.float32)
        term, unit_of, side_of, share_of = zip(*columns, strict=True) if columns else ((), (), (), ())
        return QueryWords(
            np.array(term, np.int32),
            np.array(unit_of, np.int32),
            np.array(side_of, np.int32),
            np.array(share_of, np.float32),
            weight / max(float(weight.sum()), 1e-9),
        )

    def _terms(self, words: Sequence[str]) -> tuple[str, ...]:
        """Distinct index terms in order."""
        return tuple(dict.fromkeys(term for word in words for term in self.tokenizer.terms_of(word)))


class CoverageJudge:
    """Grades by the weighted share of the query's words that the product's text holds (title, brand and colour).

    Args:
        shop: whose products are graded.
        thresholds: None takes `THRESHOLDS`.
        catalogue: words of the catalogue; None reads the shop's. A shop of planted products needs the original's.
    """

    name = "coverage"

    def __init__(
        self, shop: Shop, thresholds: Thresholds | None = None, catalogue: CatalogueWords | None = None
    ) -> None:
        self.shop, self.thresholds = shop, thresholds or THRESHOLDS
        texts = None if catalogue is None else product_texts(shop)
        self.catalogue = catalogue or CatalogueWords(shop)
        vocabulary = self.catalogue.vocabulary
        self._titles = (
            vocabulary.titles if texts is None else TitleWords.read(texts, vocabulary.number, self.catalogue.tokenizer)
        )
        self._own = float(texts is None)

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """Soft verdicts, (N, K, 4); NaN on padding and for a query without a word."""
        return Grades(level_probs(self.score(queries, rows_NK), self.thresholds))

    def score(self, queries: Sequence[Query], rows_NK: RowArray) -> FloatArray:
        """Coverage of query n by product rows_NK[n, k], (N, K) float32 in [0, 1]; NaN where `grade` has no verdict."""
        return self.coverage_and_unfitting(queries, rows_NK)[0]

    def coverage_and_unfitting(self, queries: Sequence[Query], rows_NK: RowArray) -> tuple[FloatArray, FloatArray]:
        """`score`, and the share of the query that the title holds in words that do not fit it, (N, K) in [0, 1]."""
        from judges.simple import coverage_kernel  # noqa: PLC0415 - loads numba

        place = {text: n for n, text in enumerate(dict.fromkeys(query.text for query in queries))}
        parts = [self.catalogue.query_words(text) for text in place]
        fitting_NK, unfitting_NK = (np.full(rows_NK.shape, np.nan, np.float32) for _ in range(2))
        if parts and rows_NK.size:
            known = self.catalogue
            fill: Callable[..., None] = coverage_kernel.fill_coverage
            fill(
                (self._titles.ptr, self._titles.terms),
                _joined(parts),
                known.arrays,
                (float(known.vocabulary.size), self._own, *FIT_SHARES, DOUBT, TYPICAL_REST * known.median_weight),
                np.array([place[query.text] for query in queries], np.int64),
                np.ascontiguousarray(rows_NK, np.int32),
                fitting_NK,
                unfitting_NK,
            )
        return fitting_NK, unfitting_NK

    def for_shop(self, shop: Shop) -> CoverageJudge:
        """The same judge for another shop's products, with this catalogue's words."""
        return CoverageJudge(shop, self.thresholds, self.catalogue)


def _joined(parts: Sequence[QueryWords]) -> tuple[npt.NDArray, ...]:
    """The words of several queries, as `coverage_kernel.fill_coverage` reads them: its argument `queries`."""
    words = [np.concatenate([getattr(part, name) for part in parts]) for name in ("term", "unit", "side", "share")]
    word_ptr, unit_ptr = _offsets([len(part.term) for part in parts]), _offsets([len(part.weight) for part in parts])
    return (word_ptr, *words, unit_ptr, np.concatenate([part.weight for part in parts]))


def _offsets(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.cumsum([0, *lengths], dtype=np.int64)
