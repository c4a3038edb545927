"""How often each word is in each text field of each product: BM25 engines of any settings without indexing again.

    counts = FieldCounts.of(shop)
    engines = [counts.bm25(settings, texts) for settings in candidates]   # milliseconds each
    engines[0].search(texts, k=10)

An engine of `bm25` knows the words of the given texts only; for these it finds what `BM25.build` with the same settings
finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qr_env.language.tokenize import Tokenizer
from qr_env.retrieval.bm25 import BM25, BM25Settings, term_ids
from qr_env.shop.shop import PRODUCT_SCHEMA, Shop

TEXT_FIELDS = tuple(name for name in PRODUCT_SCHEMA.names if name not in ("product_id", "price"))


@dataclass(frozen=True)
class FieldCounts:
    """Counts of index terms by field; only fields that some product has are present."""

    matrices: Mapping[str, sp.csc_matrix]
    """field → (C, V) float32: how often term v is in this field of product c"""
    lengths_C: Mapping[str, npt.NDArray[np.float32]]
    """field → (C,): number of index terms in this field of each product"""
    vocabulary: Mapping[str, int]
    """index term → column"""
    products_hash: str
    """of the shop, as in `Shop.products_hash`"""
    tokenizer: Tokenizer
    """of the shop's language"""

    @classmethod
    def of(cls, shop: Shop) -> FieldCounts:
        """Count the terms of all text fields of a shop's products; about 5 s for two million words."""
        vocabulary: dict[str, int] = {}
        of_word: dict[str, tuple[int, ...]] = {}
        ids_of = {
            name: [
                term_ids(text or "", shop.tokenizer, of_word, vocabulary) for text in shop.products[name].to_pylist()
            ]
            for name in TEXT_FIELDS
        }
        lengths_C = {name: np.array([len(ids) for ids in ids_C], np.float32) for name, ids_C in ids_of.items()}
        present = [name for name in TEXT_FIELDS if name == "title" or lengths_C[name].any()]
        return cls(
            {name: _count_matrix(ids_of[name], len(vocabulary)) for name in present},
            {name: lengths_C[name] for name in present},
            vocabulary,
            shop.products_hash,
            shop.tokenizer,
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that some product has, title first."""
        return tuple(self.matrices)

    def restricted(self, texts: Sequence[str]) -> FieldCounts:
        """The columns of the texts' terms alone; lengths are of the whole fields."""
        terms = dict.fromkeys(term for text in texts for term in self.tokenizer.terms(text) if term in self.vocabulary)
        columns = [self.vocabulary[term] for term in terms]
        matrices = {name: sp.csc_matrix(matrix[:, columns]) for name, matrix in self.matrices.items()}
        vocabulary = {term: at for at, term in enumerate(terms)}
        return FieldCounts(matrices, self.lengths_C, vocabulary, self.products_hash, self.tokenizer)

    def bm25(self, settings: BM25Settings, threads: int = 0) -> BM25:
        """The engine of these settings, over these terms; fields that no product has are ignored.

        Lucene's variant (Kamphuis et al. 2020) as in bm25s: idf · tf / (tf + k1 · (1 − b + b · length / mean length)).
        """
        import bm25s

        weights = {name: count for name, count in settings.fields if name in self.matrices}
        counts = sp.csc_matrix(sum(count * self.matrices[name] for name, count in weights.items()), dtype=np.float64)
        counts.sort_indices()
        length_C = np.sum([count * self.lengths_C[name].astype(np.float64) for name, count in weights.items()], axis=0)
        norm_C = settings.k1 * (1 - settings.b + settings.b * length_C / max(float(np.mean(length_C)), 1e-9))
        document_frequency_V = np.diff(counts.indptr)
        products = counts.shape[0]
        idf_V = np.log(1 + (products - document_frequency_V + 0.5) / (document_frequency_V + 0.5))
        saturated = counts.data / (counts.data + norm_C[counts.indices])
        engine = bm25s.BM25(k1=settings.k1, b=settings.b, method="lucene", backend="numba", auto_compile=False)
        engine.scores = {
            "data": (np.repeat(idf_V, document_frequency_V) * saturated).astype(np.float32),
            "indices": counts.indices.astype(np.int32),
            "indptr": counts.indptr.astype(np.int64),
            "num_docs": products,
        }
        engine.vocab_dict = dict(self.vocabulary)
        return BM25(engine, self.products_hash, settings, self.tokenizer, threads)


def _count_matrix(ids_C: Sequence[Sequence[int]], terms: int) -> sp.csc_matrix:
    """(C, V) counts of term ids."""
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids in ids_C])])
    columns = np.fromiter((number for ids in ids_C for number in ids), np.int32, starts[-1])
    matrix = sp.csr_matrix((np.ones(len(columns), np.float32), columns, starts), (len(ids_C), terms))
    matrix.sum_duplicates()
    return matrix.tocsc()
