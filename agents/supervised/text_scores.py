"""How near a rewriter's texts are to held-out ones (MiniELM's offline metrics): exact match, ROUGE-L, cross-entropy.

    text_scores(student, [example for example in read_examples("pairs.parquet") if example.held_out])

ROUGE-L is computed here: rouge-score, its usual package, brings nltk for a longest common subsequence of ten words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from agents.query_log.word_model import WORD
from qr_env.common.errors import ConfigError

if TYPE_CHECKING:
    from agents.examples.tasks import Example
    from agents.policy.student import Student

Array = npt.NDArray[np.float64]


def text_scores(student: Student, examples: Sequence[Example]) -> dict[str, float]:
    """Of `rewrite` examples without context, against their responses.

    Returns:
        "exact match", share of greedy rewrites with the same words in the same order; "ROUGE-L" in [0, 1]; both means
        over examples. "cross-entropy", nats a response token, end token included. "pairs", how many.

    Raises:
        ConfigError: no example, or one of another task.
    """
    from agents.supervised.multitask import task_scores

    others = sorted({example.task for example in examples} - {"rewrite"})
    if others or not examples:
        raise ConfigError(f"{len(examples)} examples, of {others or 'no'} other tasks: give held-out rewrite examples")
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
    """1 where a text has its reference's words in its order, else 0; case and punctuation aside, (N,)."""
    pairs = zip(texts, references, strict=True)
    return np.array([WORD.findall(a.lower()) == WORD.findall(b.lower()) for a, b in pairs], np.float64)


def rouge_l(texts: Sequence[str], references: Sequence[str]) -> Array:
    """ROUGE-L F1 of each text and its reference, (N,) in [0, 1] (Lin 2004, eqs. 2–4, β = 1).

    2 LCS / (words of the one + words of the other), LCS the longest common subsequence of words. Two texts without
    words agree, 1; one alone without, 0.
    """
    column: dict[str, int] = {}
    first_N_A, second_N_B = (_word_ids(side, column, -1 - i) for i, side in enumerate((texts, references)))
    words_N = (first_N_A >= 0).sum(axis=1) + (second_N_B >= 0).sum(axis=1)
    return np.where(words_N > 0, 2.0 * lcs_lengths(first_N_A, second_N_B) / np.maximum(words_N, 1), 1.0)


def lcs_lengths(first_N_A: npt.NDArray[np.int64], second_N_B: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Length of the longest common subsequence of each pair of rows, (N,); padding differs on the two sides.

    The textbook table, a row at a time for all pairs: row[b] = max(above[b], above[b − 1] + equal, row[b − 1]).
    """
    row_N_B = np.zeros((len(second_N_B), second_N_B.shape[1] + 1), np.int64)
    for ids_N in first_N_A.T:
        grown_N_B = row_N_B[:, :-1] + (ids_N[:, None] == second_N_B)
        row_N_B[:, 1:] = np.maximum.accumulate(np.maximum(row_N_B[:, 1:], grown_N_B), axis=1)
    return row_N_B[:, -1]


def _word_ids(texts: Sequence[str], column: dict[str, int], padding: int) -> npt.NDArray[np.int64]:
    """Numbers of the words, (N, longest); `column` learns new words."""
    rows = [[column.setdefault(word, len(column)) for word in WORD.findall(text.lower())] for text in texts]
    ids = np.full((len(rows), max(map(len, rows), default=0)), padding, np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = row
    return ids
