"""Figures of the texts alone: lengths of rewrites, how much they copy from their originals, and faulty weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qr_env.common.types import FloatArray
from qr_env.query_text.weights import parse_weights


@dataclass(frozen=True, slots=True)
class TextFigures:
    """Figures of N pairs of an original and its rewrite, in words of the case-folded texts without their weights."""

    words: FloatArray
    """(N,) words of the rewrite"""
    words_original: FloatArray
    """(N,) words of the original"""
    copied: FloatArray
    """(N,) words of the rewrite that the original has, or that stand earlier in the rewrite"""
    kept: npt.NDArray[np.bool_]
    """(N,) the rewrite keeps the original: it is empty, or has the same words in the same order"""
    malformed_weights: FloatArray
    """(N,) words of the rewrite with a `^` but no weight (`qr_env.query_text.weights`)"""
    clipped_weights: FloatArray
    """(N,) words of the rewrite whose weight was out of range"""


def text_figures(originals: Sequence[str], rewrites: Sequence[str]) -> TextFigures:
    """Lengths and copies of N rewrites. Words are what `str.split` makes of the case-folded text."""
    parsed = [parse_weights(rewrite) for rewrite in rewrites]
    plain = [parts.plain if "^" in rewrite else rewrite for parts, rewrite in zip(parsed, rewrites, strict=True)]
    words_of = {text: text.casefold().split() for text in {*originals, *rewrites, *plain}}
    distinct = {text: set(words) for text, words in words_of.items()}
    pairs = list(zip(originals, plain, strict=True))
    words = np.array([len(words_of[text]) for text in plain], np.float32)
    new = np.array([len(distinct[text] - distinct[original]) for original, text in pairs], np.float32)
    same = [words_of[original] == words_of[rewrite] for original, rewrite in zip(originals, rewrites, strict=True)]
    return TextFigures(
        words=words,
        words_original=np.array([len(words_of[original]) for original in originals], np.float32),
        copied=words - new,
        kept=np.array(same, np.bool_) | (words == 0),
        malformed_weights=np.array([parts.malformed for parts in parsed], np.float32),
        clipped_weights=np.array([parts.clipped for parts in parsed], np.float32),
    )
