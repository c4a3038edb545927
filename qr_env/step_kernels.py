"""Compiled loops of one environment step, kept on disk by numba: each replaces a dozen passes of numpy over a batch.

levels(indptr, indices, data, query_rows_N, rows_NK, -1, levels_NK)         # for `Shop.levels`
"""

from __future__ import annotations

import numba as nb
import numpy.typing as npt

_INT8S = nb.types.Array(nb.int8, 1, "C", readonly=True)
_LONGS = nb.types.Array(nb.int64, 1, "C", readonly=True)
_ROWS = nb.types.Array(nb.int32, 1, "C", readonly=True)
_LISTS = nb.types.Array(nb.int32, 2, "C", readonly=True)


@nb.njit(nb.void(_LONGS, _ROWS, _INT8S, _LONGS, _LISTS, nb.int8, nb.int8[:, ::1]), nogil=True, cache=True)
def levels(
    indptr: npt.NDArray,
    indices: npt.NDArray,
    data: npt.NDArray,
    query_rows_N: npt.NDArray,
    rows_NK: npt.NDArray,
    ungraded: int,
    levels_NK: npt.NDArray,
) -> None:
    """Fill levels_NK, one binary search a pair: level, `ungraded` where CSR `data` (level + 1) has none, -1 no product.

    Rows below 0 are no query, no product; the others are within the matrix, whose indices ascend within a line.
    """
    for n in range(len(query_rows_N)):
        query = query_rows_N[n]
        start, stop = (indptr[query], indptr[query + 1]) if query >= 0 else (0, 0)
        for k in range(rows_NK.shape[1]):
            row = rows_NK[n, k]
            if query < 0 or row < 0:
                levels_NK[n, k] = -1
                continue
            low, high = start, stop
            while low < high:
                middle = (low + high) // 2
                if indices[middle] < row:
                    low = middle + 1
                else:
                    high = middle
            levels_NK[n, k] = data[low] - 1 if low < stop and indices[low] == row else ungraded
