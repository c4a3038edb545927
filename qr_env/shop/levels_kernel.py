"""Lookup of relevance levels in the CSR matrix of grades, compiled by numba and cached on disk (`Shop.levels`)."""

from __future__ import annotations

import numba as nb
import numpy.typing as npt

_INT8S = nb.types.Array(nb.int8, 1, "C", readonly=True)
_LONGS = nb.types.Array(nb.int64, 1, "C", readonly=True)
_ROWS = nb.types.Array(nb.int32, 1, "C", readonly=True)
_LISTS = nb.types.Array(nb.int32, 2, "C", readonly=True)


@nb.njit(nb.void(_LONGS, _ROWS, _INT8S, _LONGS, _LISTS, nb.int8, nb.int8[:, ::1]), nogil=True, cache=True)
def fill_levels(
    indptr: npt.NDArray,
    indices: npt.NDArray,
    data: npt.NDArray,
    query_rows_N: npt.NDArray,
    rows_NK: npt.NDArray,
    ungraded: int,
    levels_NK: npt.NDArray,
) -> None:
    """Fill levels_NK with the level of every (query, product) pair, by one binary search a pair.

    Args:
        indptr, indices, data: CSR matrix of level + 1, (queries, products), indices ascending within a line.
        query_rows_N: int64 query rows; below 0 is a query that the shop does not have.
        rows_NK: int32 product rows; below 0 is padding.
        ungraded: level of a pair that the matrix does not hold.
        levels_NK: int8 output; -1 where there is no query or no product.
    """
    for n in range(len(query_rows_N)):
        query = query_rows_N[n]
        start, stop = (indptr[query], indptr[query + 1]) if query >= 0 else (0, 0)
        for k in range(rows_NK.shape[1]):
            row = rows_NK[n, k]
            if query < 0 or row < 0:
                levels_NK[n, k] = -1
                continue
            low, left = start, stop - start
            while left > 1:  # no branch on the data: the number of iterations depends on the query alone
                half = left // 2
                low += half * (indices[low + half - 1] < row)
                left -= half
            levels_NK[n, k] = data[low] - 1 if stop > start and indices[low] == row else ungraded
