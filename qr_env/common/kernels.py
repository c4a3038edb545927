"""Compiled loops of one environment step, kept on disk by numba: each replaces a dozen passes of numpy over a batch.

levels(indptr, indices, data, query_rows_N, rows_NK, -1, levels_NK)         # for `Shop.levels`
compare(…, counts_CN), compare_texts(…, figures_4N)                         # for `qr_env.reward.feedback`
"""

from __future__ import annotations

import numba as nb
import numpy as np
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
            low, left = start, stop - start
            while left > 1:  # nothing to mispredict: the number of turns depends on the query alone
                half = left // 2
                low += half * (indices[low + half - 1] < row)
                left -= half
            levels_NK[n, k] = data[low] - 1 if stop > start and indices[low] == row else ungraded


COUNTS = (
    *("found_before", "judged_before", "relevant_before", "mean_before", "rank_before"),
    *("found_after", "judged_after", "relevant_after", "mean_after", "rank_after"),
    *("new", "new_relevant", "excellent_before", "excellent_new", "wanted", "wanted_before", "wanted_either"),
)
_GRADES = nb.types.Array(nb.float32, 3, "A", readonly=True)
_ANY_LISTS = nb.types.Array(nb.int32, 2, "A", readonly=True)
_MASK = nb.types.Array(nb.boolean, 1, "C", readonly=True)
_VALUES = nb.types.Array(nb.float32, 2, "A", readonly=True)


@nb.njit(inline="always")
def _holds(rows: npt.NDArray, row: int) -> bool:
    for other in rows:  # noqa: SIM110 - numba compiles no generators
        if other == row:
            return True
    return False


@nb.njit(inline="always")
def _tally(rows: npt.NDArray, probs: npt.NDArray, tau: float, depth: int) -> tuple[float, float, float, float, float]:
    """Of one list: products, those with a verdict, those with relevance above tau, mean relevance of the first, and
    the place of the best relevant one among those with a verdict (from 1; 0: there is none)."""
    found, judged, relevant, top, total, rank = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(len(rows)):
        if rows[k] < 0:
            continue
        found += 1
        if np.isnan(probs[k, 0]):
            continue
        judged += 1
        relevance = probs[k, 2] + probs[k, 3]
        relevant += relevance > tau
        if rank == 0 and relevance > tau:
            rank = judged
        if k < depth:
            top += 1
            total += relevance
    return found, judged, relevant, np.nan if found > 0 and top == 0 else total / max(top, 1.0), rank


_LISTS_AND_GRADES = (_ANY_LISTS, _GRADES, _ANY_LISTS, _GRADES)
_REST = (_MASK, _ANY_LISTS, _VALUES, nb.float64, nb.int64, nb.float64[:, ::1])


@nb.njit(nb.void(*_LISTS_AND_GRADES, *_REST), nogil=True, cache=True)
def compare(
    before_NK: npt.NDArray,
    probs_before_NK4: npt.NDArray,
    after_NK: npt.NDArray,
    probs_after_NK4: npt.NDArray,
    excellent_P: npt.NDArray,
    bought_NM: npt.NDArray,
    bought_relevance_NM: npt.NDArray,
    tau: float,
    depth: int,
    counts_CN: npt.NDArray,
) -> None:
    """Fill counts_CN, a line for each of `COUNTS`: what two result lists hold, and what was bought outside search.

    excellent_P: empty takes every product for excellent. depth: places that the mean relevance looks at.
    """
    for n in range(len(before_NK)):
        before, after = before_NK[n], after_NK[n]
        found_b, judged_b, relevant_b, mean_b, rank_b = _tally(before, probs_before_NK4[n], tau, depth)
        found_a, judged_a, relevant_a, mean_a, rank_a = _tally(after, probs_after_NK4[n], tau, depth)
        new, new_relevant, excellent, excellent_new, wanted, had, has = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(len(before)):
            if before[k] >= 0 and probs_before_NK4[n, k, 2] + probs_before_NK4[n, k, 3] > tau:
                excellent += len(excellent_P) == 0 or excellent_P[before[k]]
        for k in range(len(after)):
            if after[k] < 0 or _holds(before, after[k]):
                continue
            new += 1
            if probs_after_NK4[n, k, 2] + probs_after_NK4[n, k, 3] > tau:
                new_relevant += 1
                excellent_new += len(excellent_P) == 0 or excellent_P[after[k]]
        for m in range(bought_NM.shape[1]):
            if bought_NM[n, m] >= 0 and bought_relevance_NM[n, m] > tau:
                wanted += 1
                seen = _holds(before, bought_NM[n, m])
                had += seen
                has += seen or _holds(after, bought_NM[n, m])
        counts = (found_b, judged_b, relevant_b, mean_b, rank_b, found_a, judged_a, relevant_a, mean_a, rank_a)
        for c, count in enumerate((*counts, new, new_relevant, excellent, excellent_new, wanted, had, has)):
            counts_CN[c, n] = count


@nb.njit(inline="always")
def _split(
    codes: npt.NDArray, at: int, stop: int, space_C: npt.NDArray, begins: npt.NDArray, ends: npt.NDArray, n: int
) -> int:
    """Note where the words of codes[at:stop] begin and end, from place n on; returns the place after the last."""
    inside = False
    for i in range(at, stop):
        blank = codes[i] < len(space_C) and space_C[codes[i]]
        if not blank and not inside:
            begins[n] = i
            n += 1
        if not blank:
            ends[n - 1] = i + 1
        inside = not blank
    return n


@nb.njit(inline="always")
def _equal(codes: npt.NDArray, begins: npt.NDArray, ends: npt.NDArray, a: int, b: int) -> bool:
    """Whether words a and b are the same."""
    if ends[a] - begins[a] != ends[b] - begins[b]:
        return False
    for i in range(ends[a] - begins[a]):  # noqa: SIM110 - numba compiles no generators
        if codes[begins[a] + i] != codes[begins[b] + i]:
            return False
    return True


@nb.njit(inline="always")
def _slot(codes: npt.NDArray, begins: npt.NDArray, ends: npt.NDArray, word: int, table: npt.NDArray) -> np.int64:
    """Where the word is in the hash table (its number + 1), or the free place (0) where it belongs."""
    key = np.uint64(14695981039346656037)  # FNV-1a
    for i in range(begins[word], ends[word]):
        key = (key ^ np.uint64(codes[i])) * np.uint64(1099511628211)
    at = np.int64((key ^ (key >> np.uint64(32))) & np.uint64(len(table) - 1))
    while table[at] and not _equal(codes, begins, ends, table[at] - 1, word):
        at = (at + 1) & (len(table) - 1)
    return at


_CODES = nb.types.Array(nb.uint32, 1, "C", readonly=True)


@nb.njit(nb.void(_CODES, _LONGS, _LONGS, _MASK, nb.float32[:, ::1]), nogil=True, cache=True)
def compare_texts(
    codes: npt.NDArray, starts_T: npt.NDArray, original_N: npt.NDArray, space_C: npt.NDArray, figures_4N: npt.NDArray
) -> None:
    """Fill figures_4N: words of the rewrite, of its original, words said before, and 1 where both say the same words.

    codes: all texts' code points, text t at starts_T[t] : starts_T[t + 1]; the last N are the rewrites. original_N:
    the original of each. space_C: which code points part words.
    """
    first = len(starts_T) - 1 - len(original_N)
    longest = np.max(np.diff(starts_T))
    size = 16
    while size < 2 * longest + 4:  # a word has a character and a space: never more than half full
        size *= 2
    table = np.zeros(size, np.int64)
    begins, ends, used = np.empty((3, longest + 2), np.int64)
    for n in range(len(original_N)):
        o, r = original_N[n], first + n
        had = _split(codes, starts_T[o], starts_T[o + 1], space_C, begins, ends, 0)
        all_words = _split(codes, starts_T[r], starts_T[r + 1], space_C, begins, ends, had)
        said, distinct, new, same = all_words - had, 0, 0, all_words == 2 * had
        for word in range(all_words):
            at = _slot(codes, begins, ends, word, table)
            if table[at] == 0:
                table[at] = word + 1
                used[distinct] = at
                distinct += 1
                new += word >= had
            if same and word >= had:
                same = _equal(codes, begins, ends, word, word - had)
        for i in range(distinct):
            table[used[i]] = 0
        figures_4N[0, n], figures_4N[1, n], figures_4N[2, n], figures_4N[3, n] = said, had, said - new, same
