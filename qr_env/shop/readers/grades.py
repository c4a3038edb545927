"""Grades of query-product pairs: which scale a column of grades has, and the ESCI level of each cell.

    found = read_grades(pa.chunked_array([["E", "i", "-1"]]), np.array([2, 3, 4]), Path("qrels.csv"))
    found.levels.to_pylist()                                    # [3, 0, None]: None is unknown
    read_grades(zeros_and_ones, lines_N, path, "0=I,1=E")       # another scale is named, never guessed

Read without a word: the letters and words of ESCI (also Partial), and 0 Irrelevant … 3 Exact in a column that holds a
3. An empty cell and -1 are unjudged; -2 and less is Irrelevant, as in TREC's Web tracks. Every other column, such as
0/1 or 0–4, must be named. A few cells outside the scale are unknown (`_are_strays`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.common.errors import ConfigError, DataError
from qr_env.common.types import EXACT, IRRELEVANT, LEVELS
from qr_env.shop.readers.grade_names import LEVEL_WORDS, GradeNames, likely_level, number, plain_number
from qr_env.shop.readers.load_report import shorten

UNJUDGED = frozenset(("", "-1", "nan", "none", "null", "n/a", "#n/a", "na", "<na>", "unjudged", "unrated", "?", "-"))
SCALE = {"0": 0, "1": 1, "2": 2, "3": 3}
STRAYS = 0.01  # largest share of the graded rows that may be outside the scale
TOPS = (("4", "5", "10", "100"), ("4", "10", "100"))  # best grades of other scales without a 0, and with a 0
MOST_VALUES = 12  # values that a message lists
LADDERS = ("E", "IE", "ISE", "ICSE", "ICSEE", "IICSEE")  # levels of scales of 1 to 6 whole numbers, worst first


@dataclass(frozen=True)
class ReadGrades:
    """A column of N grades as levels."""

    levels: pa.Array
    """(N,) int8: 0 Irrelevant … 3 Exact, null where unknown."""
    notes: list[str]
    """What the user must know: counts with an example."""


def read_grades(values: pa.ChunkedArray, lines_N: npt.NDArray[np.int64], path: Path, named: str = "") -> ReadGrades:
    """Levels of a whole column of grades.

    Args:
        values: (N,) strings as written in the file.
        lines_N: line of each.
        path: of the file, for messages.
        named: the meaning of the grades (`grade_names.py`); "" reads ESCI and 0–3 only.

    Raises:
        DataError: the grades are of a scale that must be named, or `named` names none of them.
        ConfigError: `named` cannot be read.
    """
    names = GradeNames.parse(named) if named else None
    cells = _plain(values)
    words = cells.dictionary.to_pylist()
    counts = np.bincount(np.asarray(cells.indices), minlength=len(words)).tolist()
    count = Counter(dict(zip(words, counts, strict=True)))
    notes: list[str] = []
    if names is not None and _are_of_another_file(names, count):
        notes.append(f"{path.name}: read on its own scale, as grades={named!r} is of another ({_listed(count)})")
        names = None
    level = {word: _level(word, names) for word in words}
    outside = Counter({word: count[word] for word in words if level[word] is None and not is_unjudged(word, names)})
    if names is None:
        _check_scale(path, count, outside)
    elif not any(names.level(word) is not None for word in words):
        raise ConfigError(f"{path}: grades={named!r} names none of its grades, which are {_listed(count)}")
    levels = pa.array([level[word] for word in words], pa.int8()).take(cells.indices)
    notes += _notes(path, count, outside, names)
    if outside:
        found = pc.is_in(cells.cast(pa.string()), pa.array(list(outside), pa.string()))
        first = pc.index(found, True).as_py()
        notes.append(
            f"{path.name}: grades outside the scale: {outside.total():,}; their pairs are unknown and left out "
            f"(first: {shorten(values[first].as_py())}, line {lines_N[first]})"
        )
    if levels.null_count < len(levels) and not pc.any(pc.equal(levels, EXACT)).as_py():
        notes.append(
            f"{path.name}: no pair is Exact ({_listed(count)}): R@100 and RR@10 are 0, and nDCG@10 is of the "
            "best level that there is; if the grades are of another scale, name it by `grades`"
        )
    return ReadGrades(levels, notes)


def _plain(values: pa.ChunkedArray) -> pa.DictionaryArray:
    """Cells in lower case without spaces around, whole numbers without decimals, decimal commas as points."""
    text = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(values, "")))
    text = pc.replace_substring(text, "\N{MINUS SIGN}", "-")
    text = pc.replace_substring_regex(text, r"^([+-]?\d+),(\d+)$", r"\1.\2")
    cells = pa.array(text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text).dictionary_encode()
    words = pa.array([plain_number(word) for word in cells.dictionary.to_pylist()], pa.string()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(words.indices.take(cells.indices), words.dictionary)


def _level(word: str, names: GradeNames | None) -> int | None:
    """Level of a plain cell; None where it is unjudged or outside the scale."""
    named = None if names is None else names.level(word)
    if named is not None:
        return named
    if word in LEVEL_WORDS:
        return LEVEL_WORDS[word]
    if _is_spam(word) or word == "0":
        return IRRELEVANT
    return SCALE.get(word) if names is None else None


def is_unjudged(word: str, names: GradeNames | None = None) -> bool:
    """Whether a cell in lower case says that nobody judged the pair, and is not named otherwise."""
    return word in UNJUDGED and (names is None or names.level(word) is None)


def _is_spam(word: str) -> bool:
    value = number(word)
    return value is not None and value <= -2 and value == int(value)


def _are_of_another_file(names: GradeNames, count: Counter[str]) -> bool:
    """Whether a column is of a scale that needs no names, and the names are of one that it has only parts of.

    A shop's labels and a file of `qr judge calibrate --labels` may have two scales.
    """
    graded = [word for word in count if word not in UNJUDGED]
    absent, unnamed = names.words.keys() - count.keys(), [word for word in graded if names.level(word) is None]
    outside = Counter({word: count[word] for word in graded if _level(word, None) is None})
    return bool(absent and unnamed) and not _scale_fault(count, outside)


def _check_scale(path: Path, count: Counter[str], outside: Counter[str]) -> None:
    """Raise DataError where the scale must be named."""
    if not (why := _scale_fault(count, outside)):
        return
    proposed = _proposal([word for word in count if word not in UNJUDGED and not _is_spam(word)])
    raise DataError(
        f"{path}: the grades are {_listed(count)}; {why}. Say what they mean: {proposed} "
        "(E Exact, S Substitute, C Complement, I Irrelevant)"
    )


def _scale_fault(count: Counter[str], outside: Counter[str]) -> str:
    """Why a column is neither of ESCI's letters (at least as often as of numbers), nor of 0–3; "" where it is."""
    on_scale = [word for word in count if word in SCALE]
    letters = sum(count[word] for word in LEVEL_WORDS) >= max(1, sum(count[word] for word in on_scale))
    graded = sum(n for word, n in count.items() if word not in UNJUDGED)
    exact = any(LEVEL_WORDS.get(word, SCALE.get(word)) == EXACT for word in count)
    strays = exact and _are_strays(outside, graded, best=() if letters else TOPS[count["0"] > 0])
    if outside and not strays:
        return f"{_example(outside)} is none of 0–3, E, S, C, I, Exact, Substitute, Partial, Complement, Irrelevant"
    if on_scale and not letters and max(on_scale) in ("1", "2"):
        return "none of them is Exact on the scale 0–3, where 3 is"
    return ""


def _are_strays(outside: Counter[str], graded: int, best: Collection[str]) -> bool:
    """Whether grades outside the scale are slips: 1 % of the rows at most, or one row that has no `best` grade.

    Two 4s are none in a column of numbers: they continue the scale 0–3, and a best grade may be rare.
    """
    rows = outside.total()
    if rows == graded or (outside["4"] > 1 and "4" in best):
        return False
    return rows <= STRAYS * graded or (rows == 1 and not any(word in best for word in outside))


def _proposal(words: list[str]) -> str:
    """Values of --grades that would read these grades, the best of them as Exact."""
    values = sorted({value for word in words if (value := number(word)) is not None})
    if not values:
        unread = {word: likely_level(word) for word in words if word not in LEVEL_WORDS}
        parts = ",".join(f"{word}={level or 'LEVEL'}" for word, level in unread.items())
        return f"grades={parts!r}{' if that fits' if all(unread.values()) else ', a letter for each LEVEL'}"
    low, high = min(values[0], 0.0), values[-1]
    if (values[0], high) == (1.0, 5.0):
        low = 1.0
    if high - low < len(LADDERS) and all(value == int(value) for value in values):
        ladder = LADDERS[int(high - low)]
        return f"grades={','.join(f'{low + n:g}={level}' for n, level in enumerate(ladder))!r} if that fits"
    cuts = [f"{low + (max(high, 1.0) - low) * part / 4:.4g}" for part in range(5)]
    return f"grades={','.join(f'{cuts[n]}..{cuts[n + 1]}={LEVELS[n][0]}' for n in (3, 2, 1, 0))!r} if that fits"


def _listed(count: Counter[str]) -> str:
    """The values with their numbers of rows; of many numbers, how many and between which."""
    words = list(count)
    numbers = sorted({value for word in words if (value := number(word)) is not None})
    if len(numbers) > MOST_VALUES:
        others = [word for word in words if number(word) is None]
        text = f"{len(numbers):,} different numbers from {numbers[0]:g} to {numbers[-1]:g}"
        return f"{text} and {len(others):,} other values" if others else text
    ordered = sorted(words, key=_by_size) if len(numbers) == len(words) else [word for word, _ in count.most_common()]
    shown = [f"{word or 'empty'} ({count[word]:,} ×)" for word in ordered[:MOST_VALUES]]
    return ", ".join(shown) + (f" and {len(words) - len(shown):,} other values" if len(words) > len(shown) else "")


def _by_size(word: str) -> float:
    return number(word) or 0.0


def _example(outside: Counter[str]) -> str:
    return shorten(outside.most_common(1)[0][0])


def _notes(path: Path, count: Counter[str], outside: Counter[str], names: GradeNames | None) -> list[str]:
    """Notes on unjudged pairs, on spam, and on a scale of which the lowest grade is missing."""
    notes = []
    if unjudged := Counter({word: n for word, n in count.items() if is_unjudged(word, names)}):
        notes.append(f"{path.name}: unjudged pairs left out: {unjudged.total():,} ({_listed(unjudged)})")
    if spam := Counter({word: n for word, n in count.items() if _is_spam(word) and _level(word, names) == IRRELEVANT}):
        notes.append(f"{path.name}: grades of -2 or less read as Irrelevant: {spam.total():,} ({_listed(spam)})")
    on_scale = [word for word in count if word in SCALE]
    if names is None and on_scale and min(on_scale) == "1" and not spam and not any(w in LEVEL_WORDS for w in count):
        notes.append(
            f"{path.name}: grades 1–3 are read on the scale 0–3 (1 Complement, 2 Substitute, 3 Exact); if 1 is the "
            "lowest grade, give grades='1=I,2=S,3=E'"
        )
    return notes
