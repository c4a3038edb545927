"""The inner loop of the coverage judge, compiled by numba and cached on disk. `coverage.py` has the formulas."""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

USUAL_TITLES = 64  # titles whose mean is a word's usual support
FULL_LIFT = 2.0  # log2 of observed over expected titles with two words, from which on they count as companions

_INTS = nb.types.Array(nb.int32, 1, "C", readonly=True)
_LONGS = nb.types.Array(nb.int64, 1, "C", readonly=True)
_FLOATS = nb.types.Array(nb.float32, 1, "C", readonly=True)
_LISTS = nb.types.Array(nb.int32, 2, "C", readonly=True)
_TITLES = nb.types.Tuple((_LONGS, _INTS))
_QUERIES = nb.types.Tuple((_LONGS, _INTS, _INTS, _INTS, _FLOATS, _LONGS, _FLOATS))
_WORDS = nb.types.Tuple((_LONGS, _INTS, _FLOATS, _FLOATS, _FLOATS, _FLOATS))
_OPTIONS = nb.types.UniTuple(nb.float64, 6)
_OUT = (nb.float32[:, ::1], nb.float32[:, ::1])


@nb.njit(inline="always")
def _titles_with_both(words: tuple, word: int, term: int) -> float:
    """Number of titles that hold both terms; one binary search."""
    ptr, terms, titles = words[0], words[1], words[2]
    low, high = ptr[word], ptr[word + 1]
    while low < high:
        middle = (low + high) // 2
        if terms[middle] < term:
            low = middle + 1
        else:
            high = middle
    return titles[low] if low < ptr[word + 1] and terms[low] == term else 0.0


@nb.njit(inline="always")
def _holds(terms: npt.NDArray, start: int, stop: int, term: int) -> bool:
    """Whether a term is among terms[start:stop]."""
    for at in range(start, stop):  # noqa: SIM110 - numba has no any()
        if terms[at] == term:
            return True
    return False


@nb.njit(inline="always")
def _support(words: tuple, catalogue: float, own: float, word: int, rest: npt.NDArray, size: int) -> float:
    """Weight of the title's other words that go with a word of it, as a share of all their weight; 0 without any."""
    titles_with, idf = words[3], words[4]
    others = titles_with[word] - own
    above, total = 0.0, 0.0
    for r in range(size):
        total += idf[rest[r]]
        both = _titles_with_both(words, word, rest[r]) - own
        if both > 0.5:
            lift = np.log2(both * catalogue / (others * (titles_with[rest[r]] - own)))
            above += idf[rest[r]] * min(max(lift / FULL_LIFT, 0.0), 1.0)
    return above / total if total > 0 else 0.0


@nb.njit(inline="always")
def _fit(words: tuple, options: tuple, word: int, rest: npt.NDArray, size: int, rest_weight: float) -> float:
    """How well a word that a title holds goes with the title's other words, in [0, 1]."""
    titles_with, usual = words[3], words[5]
    catalogue, own, low, high, doubt, typical = options
    others = titles_with[word] - own
    if others < 0.5 or rest_weight <= 0:
        return 1.0
    fit = (_support(words, catalogue, own, word, rest, size) - low) / (high - low)
    evidence = min(rest_weight / typical, 1.0) * others / (others + doubt)
    evidence *= min(max((usual[word] - low) / (high - low), 0.0), 1.0)
    return 1 - evidence * (1 - min(max(fit, 0.0), 1.0))


@nb.njit(nb.void(_TITLES, _WORDS, nb.float64, nb.float32[::1]), nogil=True, cache=True)
def fill_usual_support(titles: tuple, words: tuple, catalogue: float, usual_V: npt.NDArray) -> None:
    """Fill usual_V with the mean support of each word in the first `USUAL_TITLES` titles that hold it.

    Arguments as in `fill_coverage`; catalogue is the number of titles.
    """
    ptr, terms = titles
    count = np.zeros(len(usual_V))
    usual_V[:] = 0
    for row in range(len(ptr) - 1):
        start, stop = ptr[row], ptr[row + 1]
        rest = np.empty(stop - start, np.int32)
        for at in range(start, stop):
            word = terms[at]
            if count[word] >= USUAL_TITLES or words[3][word] < 1.5 or _holds(terms, start, at, word):
                continue
            size = 0
            for other in range(start, stop):
                if terms[other] != word and not _holds(terms, start, other, terms[other]):
                    rest[size] = terms[other]
                    size += 1
            usual_V[word] += _support(words, catalogue, 1.0, word, rest, size)
            count[word] += 1
    for word in range(len(usual_V)):
        usual_V[word] /= max(count[word], 1.0)


@nb.njit(nb.void(_TITLES, _QUERIES, _WORDS, _OPTIONS, _LONGS, _LISTS, *_OUT), nogil=True, cache=True)
def fill_coverage(
    titles: tuple,
    queries: tuple,
    words: tuple,
    options: tuple,
    query_N: npt.NDArray,
    rows_NK: npt.NDArray,
    fitting_NK: npt.NDArray,
    unfitting_NK: npt.NDArray,
) -> None:
    """Fill fitting_NK with the weighted share of units that each title holds in words that fit it, and unfitting_NK
    with what it holds besides; NaN on padding and for a query without a unit.

    Args:
        titles: (ptr, terms), those of title c at terms[ptr[c] : ptr[c + 1]]; -1 is no word of the catalogue.
        queries: (word_ptr, term, unit, side, share, unit_ptr, weight). The words of query p are at
            word_ptr[p] : word_ptr[p + 1]: term, number of the unit within the query, side 0 (typed) or 1 (repaired),
            and share in its side of the unit. Its units are at unit_ptr[p] : unit_ptr[p + 1]: share in the query.
        words: (ptr, terms, titles, titles_with, idf, usual): CSR matrix (terms, terms) of the titles that hold both,
            terms ascending; titles with each term; idf of each term; its usual support.
        options: (titles in the catalogue, 1 where `titles` are those that were counted and so no evidence for
            themselves, support at which fit starts to rise, support of full fit, other titles with a word at which
            evidence is half, idf of a title's other words from which on it can be full).
        query_N: query of each list.
        rows_NK: product rows, -1 is padding.
        fitting_NK, unfitting_NK: output.
    """
    title_ptr, title_terms = titles
    word_ptr, term_of, unit_of, side_of, share_of, unit_ptr, weight_of = queries
    for n in range(len(query_N)):
        query = query_N[n]
        first, last = word_ptr[query], word_ptr[query + 1]
        units = unit_ptr[query + 1] - unit_ptr[query]
        held = np.zeros((2, units, 2), np.float32)  # [any word, fitting words], unit, side
        for k in range(rows_NK.shape[1]):
            row = rows_NK[n, k]
            if row < 0 or units == 0:
                fitting_NK[n, k] = unfitting_NK[n, k] = np.nan
                continue
            start, stop = title_ptr[row], title_ptr[row + 1]
            rest, size, rest_weight = np.empty(stop - start, np.int32), 0, 0.0
            for at in range(start, stop):
                term = title_terms[at]
                if term >= 0 and not _holds(term_of, first, last, term) and not _holds(rest, 0, size, term):
                    rest[size] = term
                    size += 1
                    rest_weight += words[4][term]
            held[:] = 0
            for w in range(first, last):
                if term_of[w] >= 0 and _holds(title_terms, start, stop, term_of[w]):
                    fit = _fit(words, options, term_of[w], rest, size, rest_weight)
                    held[0, unit_of[w], side_of[w]] += share_of[w]
                    held[1, unit_of[w], side_of[w]] += share_of[w] * fit
            total = np.zeros(2)
            for unit in range(units):
                for part in range(2):
                    total[part] += weight_of[unit_ptr[query] + unit] * max(held[part, unit, 0], held[part, unit, 1])
            fitting_NK[n, k] = total[1]
            unfitting_NK[n, k] = total[0] - total[1]
