"""The words of a catalogue's titles: vocabulary, inverse document frequency, and the terms of every title in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qr_env.common.types import FloatArray
from qr_env.language.tokenize import Tokenizer

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TitleWords:
    """Terms of C titles, by the numbers of a vocabulary."""

    ptr: Indices
    """(C + 1,) the terms of title c are terms[ptr[c] : ptr[c + 1]]"""
    terms: npt.NDArray[np.int32]
    """term numbers in the titles' order; -1 for a word that the vocabulary does not have"""

    @classmethod
    def read(cls, titles: Sequence[str], vocabulary: Mapping[str, int], tokenizer: Tokenizer) -> TitleWords:
        """The terms of some titles."""
        numbers = [[vocabulary.get(term, -1) for term in tokenizer.terms(title)] for title in titles]
        ptr = np.cumsum([0, *map(len, numbers)], dtype=np.int64)
        return cls(ptr, np.array([number for title in numbers for number in title], np.int32))


class Vocabulary:
    """The terms of a catalogue and how many titles hold each.

    Args:
        titles: of all products.
        tokenizer: of their language.
    """

    def __init__(self, titles: Sequence[str], tokenizer: Tokenizer) -> None:
        counts: Counter[str] = Counter()
        for title in titles:
            counts.update(set(tokenizer.terms(title)))
        self.number = {term: number for number, term in enumerate(counts)}
        self.titles_with_V = np.fromiter(counts.values(), np.float64, len(counts))
        self.size = len(titles)
        self.titles = TitleWords.read(titles, self.number, tokenizer)

    @cached_property
    def together_VV(self) -> sp.csr_matrix:
        """(V, V) float32, number of titles that hold both terms; terms ascend within a line."""
        shape = (self.size, len(self.number))
        ones = np.ones(len(self.titles.terms), np.float32)
        holds_CV = sp.csr_matrix((ones, self.titles.terms, self.titles.ptr), shape, copy=True)
        holds_CV.sum_duplicates()
        holds_CV.data[:] = 1
        together_VV = (holds_CV.T @ holds_CV).tocsr()
        together_VV.sort_indices()
        return together_VV

    def idf(self, terms: Sequence[str]) -> FloatArray:
        """Inverse document frequency of each term, Lucene's BM25: ln(1 + (C − n + ½) / (n + ½)), n titles hold it."""
        numbers = [self.number.get(term, -1) for term in terms]
        n = np.where(np.array(numbers, np.int64) >= 0, np.append(self.titles_with_V, 0.0)[numbers], 0.0)
        return np.log1p((self.size - n + 0.5) / (n + 0.5)).astype(np.float32)
