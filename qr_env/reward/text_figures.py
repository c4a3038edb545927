"""Figures of the texts alone: lengths of rewrites, and how much they copy from their originals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qr_env.common.types import FloatArray


@dataclass(frozen=True, slots=True)
class TextFigures:
    """Figures of N pairs of an original and its rewrite, in words of the case-folded texts."""

    words: FloatArray
    """(N,) words of the rewrite"""
    words_original: FloatArray
    """(N,) words of the original"""
    copied: FloatArray
    """(N,) words of the rewrite that the original has, or that stand earlier in the rewrite"""
    kept: npt.NDArray[np.bool_]
    """(N,) the rewrite keeps the original: it is empty, or has the same words in the same order"""


def text_figures(originals: Sequence[str], rewrites: Sequence[str]) -> TextFigures:
    """Lengths and copies of N rewrites. Words are what `str.split` makes of the case-folded text."""
    words_of = {text: text.casefold().split() for text in {*originals, *rewrites}}
    distinct = {text: set(words) for text, words in words_of.items()}
    pairs = list(zip(originals, rewrites, strict=True))
    words = np.array([len(words_of[rewrite]) for rewrite in rewrites], np.float32)
    new = np.array([len(distinct[rewrite] - distinct[original]) for original, rewrite in pairs], np.float32)
    same = np.array([words_of[original] == words_of[rewrite] for original, rewrite in pairs], np.bool_)
    return TextFigures(
        words=words,
        words_original=np.array([len(words_of[original]) for original in originals], np.float32),
        copied=words - new,
        kept=same | (words == 0),
    )
