"""The inner loop of BM25 search, compiled by numba and cached on disk, so that later processes start at once.

It reads the arrays of a bm25s index (eager scores: `data[i]` is what term `t` adds to document `indices[i]`, for i in
indptr[t] : indptr[t + 1]). bm25s' own loop has no term weights, compiles in every process, visits every document for
every query and does not define the order of ties; this one gives the same scores to the bit.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

_FLOATS = nb.types.Array(nb.float32, 1, "C", readonly=True)
_INTS = nb.types.Array(nb.int32, 1, "C", readonly=True)
_LONGS = nb.types.Array(nb.int64, 1, "C", readonly=True)
_MASK = nb.types.Array(nb.boolean, 1, "C", readonly=True)
_OUT = (nb.int32[:, ::1], nb.float32[:, ::1])
_SIGNATURE = nb.void(_FLOATS, _INTS, _LONGS, nb.int64, _MASK, _INTS, _FLOATS, _LONGS, *_OUT)


@nb.njit(inline="always")
def _before(score_a: float, row_a: int, score_b: float, row_b: int) -> bool:
    """Whether hit a ranks before hit b: higher score, then lower row."""
    return score_a > score_b or (score_a == score_b and row_a < row_b)


@nb.njit(inline="always")
def _sift_down(scores: npt.NDArray, rows: npt.NDArray, at: int, size: int) -> None:
    """Restore the heap whose root is the worst hit, after slot `at` changed."""
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        if child + 1 < size and _before(scores[child], rows[child], scores[child + 1], rows[child + 1]):
            child += 1
        if _before(scores[child], rows[child], scores[at], rows[at]):
            return
        scores[at], scores[child] = scores[child], scores[at]
        rows[at], rows[child] = rows[child], rows[at]
        at = child


@nb.njit(inline="always")
def _top(found: npt.NDArray, n_found: int, total: npt.NDArray, rows: npt.NDArray, scores: npt.NDArray) -> None:
    """The best of the found documents into `rows` and `scores`, best first."""
    k = min(len(rows), n_found)
    for i in range(k):
        rows[i], scores[i] = found[i], total[found[i]]
    for i in range(k // 2 - 1, -1, -1):
        _sift_down(scores, rows, i, k)
    for i in range(k, n_found):
        row = found[i]
        if _before(total[row], row, scores[0], rows[0]):
            rows[0], scores[0] = row, total[row]
            _sift_down(scores, rows, 0, k)
    for end in range(k - 1, 0, -1):  # heap sort: move the worst to the end
        scores[0], scores[end] = scores[end], scores[0]
        rows[0], rows[end] = rows[end], rows[0]
        _sift_down(scores, rows, 0, end)


@nb.njit(inline="always")
def _to_front(found: npt.NDArray, n_found: int, on_sale: npt.NDArray) -> int:
    """Move the found documents that are on sale to the front; returns their number. All stay in `found`, which is
    needed to reset the sums."""
    n_open = 0
    for i in range(n_found):
        doc = found[i]
        if on_sale[doc]:
            found[i], found[n_open] = found[n_open], doc
            n_open += 1
    return n_open


@nb.njit(_SIGNATURE, nogil=True, cache=True)
def search(
    data: npt.NDArray,
    indices: npt.NDArray,
    indptr: npt.NDArray,
    num_docs: int,
    on_sale: npt.NDArray,
    terms: npt.NDArray,
    weights: npt.NDArray,
    starts: npt.NDArray,
    rows_NK: npt.NDArray,
    scores_NK: npt.NDArray,
) -> None:
    """Fill rows_NK and scores_NK (already padded) for N queries; query n has terms[starts[n] : starts[n + 1]].

    terms: int32 term ids; weights: float32 > 0, one a term. Documents without any of the terms do not appear, nor do
    those that are False in on_sale, (documents,) bool; empty for all.
    """
    total = np.zeros(num_docs, np.float32)
    found = np.empty(num_docs + 1, np.int32)
    for n in range(len(starts) - 1):
        n_found = 0
        for t in range(starts[n], starts[n + 1]):
            weight = weights[t]
            for i in range(indptr[terms[t]], indptr[terms[t] + 1]):
                doc = indices[i]
                found[n_found] = doc  # overwritten unless this is its first term: no branch
                n_found += total[doc] == 0
                total[doc] += weight * data[i]
        n_open = _to_front(found, n_found, on_sale) if len(on_sale) else n_found
        _top(found, n_open, total, rows_NK[n], scores_NK[n])
        for i in range(n_found):
            total[found[i]] = 0
