"""Slices of queries that word matching fails on: a word that no product has, or no product with all the words.

difficulty(products, ["red couch"])["unknown word"]   # (1,) bool
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from qr_env.language.tokenize import ENGLISH

FIELDS = ("title", "brand", "category", "color", "attributes")  # fields that the engine indexes


def difficulty(products: pa.Table, texts: Sequence[str]) -> dict[str, npt.NDArray[np.bool_]]:
    """ "unknown word" and "no full match", (queries,) bool each, over index terms: stemmed, stop words out."""
    terms_N = [sorted(set(ENGLISH.terms(text))) for text in texts]
    wanted = {term: number for number, term in enumerate(sorted({term for terms in terms_N for term in terms}))}
    bits = _term_bits(products, wanted)
    known: npt.NDArray[np.bool_] = np.any(bits, axis=1)
    unknown_N, unmet_N = np.zeros(len(texts), np.bool_), np.zeros(len(texts), np.bool_)
    for row, terms in enumerate(terms_N):
        ids = [wanted[term] for term in terms]
        unknown_N[row] = not known[ids].all()
        unmet_N[row] = unknown_N[row] or (bool(ids) and not np.bitwise_and.reduce(bits[ids]).any())
    return {"unknown word": unknown_N, "no full match": unmet_N}


def _term_bits(products: pa.Table, wanted: dict[str, int]) -> npt.NDArray[np.uint8]:
    """(terms, bytes) products that have each term, one bit per product."""
    rows: list[int] = []
    ids: list[int] = []
    of_word: dict[str, int] = {}
    for row, values in enumerate(zip(*(products[name].to_pylist() for name in FIELDS), strict=True)):
        for word in set(ENGLISH.words(" ".join(values))):
            number = of_word.get(word)
            if number is None:
                number = of_word[word] = wanted.get(ENGLISH.stem(word), -1)
            if number >= 0:
                rows.append(row)
                ids.append(number)
    has_VC = np.zeros((len(wanted), len(products)), np.bool_)
    has_VC[ids, rows] = True
    return np.packbits(has_VC, axis=1)
