"""The inner loop of the coverage judge, compiled by numba and cached on disk."""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

_INTS = nb.types.Array(nb.int32, 1, "C", readonly=True)
_LONGS = nb.types.Array(nb.int64, 1, "C", readonly=True)
_FLOATS = nb.types.Array(nb.float32, 1, "C", readonly=True)
_LISTS = nb.types.Array(nb.int32, 2, "C", readonly=True)
_SIGNATURE = nb.void(
    _LONGS, _INTS, _LONGS, _INTS, _INTS, _INTS, _FLOATS, _LONGS, _FLOATS, _LONGS, _LISTS, nb.float32[:, ::1]
)  # fmt: skip


@nb.njit(_SIGNATURE, nogil=True, cache=True)
def fill_coverage(
    title_ptr: npt.NDArray,
    title_terms: npt.NDArray,
    word_ptr: npt.NDArray,
    word_term: npt.NDArray,
    word_unit: npt.NDArray,
    word_side: npt.NDArray,
    word_share: npt.NDArray,
    unit_ptr: npt.NDArray,
    unit_weight: npt.NDArray,
    query_N: npt.NDArray,
    rows_NK: npt.NDArray,
    coverage_NK: npt.NDArray,
) -> None:
    """Fill coverage_NK with the weighted share of units held by each product's title; NaN on padding.

    Args:
        title_ptr, title_terms: terms of each title, those of title c at title_ptr[c] : title_ptr[c + 1].
        word_ptr: the words of query p are at word_ptr[p] : word_ptr[p + 1].
        word_term: term of each word; -1 is no word of the catalogue.
        word_unit: number of the word's unit within its query.
        word_side: 0 for a typed word, 1 for a repaired one.
        word_share: share of the word in its side of the unit; sums to 1 over the side's words.
        unit_ptr: the units of query p are at unit_ptr[p] : unit_ptr[p + 1].
        unit_weight: share of each unit in its query; sums to 1 over a query's units.
        query_N: query of each list; a query without a unit gets NaN.
        rows_NK: product rows, -1 is padding.
        coverage_NK: output.
    """
    for n in range(len(query_N)):
        query = query_N[n]
        first, last = word_ptr[query], word_ptr[query + 1]
        units = unit_ptr[query + 1] - unit_ptr[query]
        held = np.zeros((units, 2), np.float32)
        for k in range(rows_NK.shape[1]):
            row = rows_NK[n, k]
            if row < 0 or units == 0:
                coverage_NK[n, k] = np.nan
                continue
            held[:] = 0
            for w in range(first, last):
                for at in range(title_ptr[row], title_ptr[row + 1]):
                    if title_terms[at] == word_term[w] and word_term[w] >= 0:
                        held[word_unit[w], word_side[w]] += word_share[w]
                        break
            total = np.float32(0)
            for unit in range(units):
                total += unit_weight[unit_ptr[query] + unit] * max(held[unit, 0], held[unit, 1])
            coverage_NK[n, k] = total
