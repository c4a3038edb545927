"""Agreement of a student's texts with held-out responses (MiniELM's offline metrics): exact match, ROUGE-L and
cross-entropy.

    text_scores(student, [example for example in read_examples("pairs.parquet") if example.held_out])

ROUGE-L is computed here, because rouge-score, its usual package, depends on nltk.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agents.examples.tasks import Example
from agents.policy.student import Student
from agents.query_log.word_model import WORD
from agents.supervised.multitask import task_scores
from qr_env.common.errors import ConfigError

Array = npt.NDArray[np.float64]


def text_scores(student: Student, examples: Sequence[Example]) -> dict[str, float]:
    """Figures of the student on `rewrite` examples without context.

    Returns:
        "exact match": share of greedy rewrites with the words of the response in the same order; "ROUGE-L": mean in
        [0, 1]; "cross-entropy": nats a response token, end token included; "pairs": number of examples.

    Raises:
        ConfigError: no example, or one of another task.
    """
    others = sorted({example.task for example in examples} - {"rewrite"})
    if others or not examples:
        raise ConfigError(
            f"{len(examples)} examples, of {others or 'no'} other tasks: give held-out examples of the task rewrite"
        )
    queries = list(dict.fromkeys(example.query for example in examples))
    written = dict(zip(queries, (options[0] for options in student.rewrite(queries)), strict=True))
    texts = [written[example.query] for example in examples]
    references = [example.response for example in examples]
    return {
        "exact match": float(exact_match(texts, references).mean()),
        "ROUGE-L": float(rouge_l(texts, references).mean()),
        "cross-entropy": task_scores(student, examples)["rewrite"].loss,
        "pairs": float(len(examples)),
    }


def exact_match(texts: Sequence[str], references: Sequence[str]) -> Array:
    """(N,) 1 where a text has the words of its reference in the same order, ignoring case and punctuation, else 0."""
    pairs = zip(texts, references, strict=True)
    return np.array([WORD.findall(a.lower()) == WORD.findall(b.lower()) for a, b in pairs], np.float64)


def rouge_l(texts: Sequence[str], references: Sequence[str]) -> Array:
    """(N,) ROUGE-L F1 of each text and its reference, in [0, 1] (Lin 2004, eqs. 2–4, β = 1).

    2 LCS / (words of the text + words of the reference), LCS the length of the longest common subsequence of words. 1
    if both have no words, 0 if one of them has none.
    """
    column: dict[str, int] = {}
    text_NT, reference_NT = (_word_ids(side, column, -1 - i) for i, side in enumerate((texts, references)))
    words_N = (text_NT >= 0).sum(axis=1) + (reference_NT >= 0).sum(axis=1)
    return np.where(words_N > 0, 2.0 * lcs_lengths(text_NT, reference_NT) / np.maximum(words_N, 1), 1.0)


def lcs_lengths(text_NT: npt.NDArray[np.int64], reference_NT: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(N,) length of the longest common subsequence of each pair of rows, padded by different numbers on the two sides.

    Dynamic programming, one row of the table at a time for all pairs:
    row[b] = max(above[b], above[b − 1] + equal, row[b − 1]).
    """
    row_NT = np.zeros((len(reference_NT), reference_NT.shape[1] + 1), np.int64)
    for ids_N in text_NT.T:
        grown_NT = row_NT[:, :-1] + (ids_N[:, None] == reference_NT)
        row_NT[:, 1:] = np.maximum.accumulate(np.maximum(row_NT[:, 1:], grown_NT), axis=1)
    return row_NT[:, -1]


def _word_ids(texts: Sequence[str], column: dict[str, int], padding: int) -> npt.NDArray[np.int64]:
    """(N, longest) numbers of the words, padded; new words are added to `column` (word → number)."""
    rows = [[column.setdefault(word, len(column)) for word in WORD.findall(text.lower())] for text in texts]
    ids = np.full((len(rows), max(map(len, rows), default=0)), padding, np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = row
    return ids
