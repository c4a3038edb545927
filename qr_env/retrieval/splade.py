"""Learned sparse retrieval: inner products of SPLADE vectors, exact, by an inverted index.

    splade = Splade.build(shop, SparseEncoder(resolve("splade-tiny")))
    splade.search(["something to keep coffee hot"], k=10).rows_NK  # (1, 10)

Of several texts with weights the vectors are added, each times its weight: a text is encoded as a phrase. Scores are
sums of products of rounded weights, ties go to the lower row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qr_env.common.atomic_io import atomic_cache_folder
from qr_env.common.errors import IndexMismatchError
from qr_env.common.types import Hits, SearchText
from qr_env.retrieval.base import cache_folder, check_k, default_threads, read_meta, weighted_texts, write_meta
from qr_env.retrieval.encoder import PRODUCT_FIELDS, product_texts
from qr_env.retrieval.postings import Postings, TermBatch
from qr_env.retrieval.sparse_encoder import DECIMALS, SparseTextEncoder
from qr_env.shop.shop import Shop

_FILE = "vectors.npz"
_PROGRESS_FROM = 1_000  # products


@dataclass(frozen=True, slots=True)
class SpladeSettings:
    """Settings of an index; part of its key on disk."""

    fields: tuple[str, ...] = PRODUCT_FIELDS
    """Product columns that are encoded, see `encoder.product_texts`."""


class Splade:
    """Products with the greatest inner product."""

    name = "splade"

    def __init__(
        self, vectors_CV: sp.csr_matrix, encoder: SparseTextEncoder, products_hash: str, settings: SpladeSettings
    ) -> None:
        """Use `build` or `load`. vectors_CV: (products, vocabulary) weights."""
        self.vectors_CV = vectors_CV
        self.encoder = encoder
        self.products_hash = products_hash
        self.settings = settings
        columns = vectors_CV.tocsc()
        self._postings = Postings(
            columns.data.astype(np.float32, copy=False),
            columns.indices.astype(np.int32, copy=False),
            columns.indptr.astype(np.int64),
            vectors_CV.shape[0],
        )

    @classmethod
    def build(cls, shop: Shop, encoder: SparseTextEncoder, **settings: Any) -> Splade:
        """Encode a shop's products, with a progress bar. settings: of `SpladeSettings`."""
        chosen = SpladeSettings(**settings)
        texts = product_texts(shop, chosen.fields)
        vectors_CV = encoder.encode(texts, show_progress=len(texts) >= _PROGRESS_FROM)
        return cls(vectors_CV, encoder, shop.products_hash, chosen)

    @classmethod
    def cached(cls, shop: Shop, encoder: SparseTextEncoder, cache_dir: Path | None, **settings: Any) -> Splade:
        """Load from `cache_dir`, or build and save there; with None only build."""
        if cache_dir is None:
            return cls.build(shop, encoder, **settings)
        key = {**asdict(SpladeSettings(**settings)), "encoder": encoder.name, "decimals": DECIMALS}
        folder = cache_folder(cache_dir, cls.name, shop, key)
        if not folder.is_dir():
            cls.build(shop, encoder, **settings).save(folder)
        return cls.load(folder, shop, encoder)

    def save(self, folder: Path) -> None:
        """Write the index atomically."""
        with atomic_cache_folder(folder) as scratch:
            sp.save_npz(scratch / _FILE, self.vectors_CV, compressed=False)
            settings = {**asdict(self.settings), "encoder": self.encoder.name}
            write_meta(scratch, self.name, self.products_hash, settings)

    @classmethod
    def load(cls, folder: Path, shop: Shop, encoder: SparseTextEncoder) -> Splade:
        """Read a saved index. Raises IndexMismatchError if it is of another shop or encoder, or damaged."""
        saved = read_meta(folder, cls.name, shop)
        if (maker := saved["encoder"]) != encoder.name:
            raise IndexMismatchError(f"{folder} was encoded by {maker}, not by {encoder.name}; build the index again")
        try:
            with (Path(folder) / _FILE).open("rb") as file:
                vectors_CV = sp.load_npz(file)
        except Exception as error:  # numpy raises errors of zip, of pickle and of its own, depending on the damage
            raise IndexMismatchError(f"{folder} is damaged; delete it and build the index again ({error})") from error
        return cls(vectors_CV.tocsr(), encoder, shop.products_hash, SpladeSettings(tuple(saved["fields"])))

    def search(self, queries: Sequence[SearchText], k: int, on_sale_C: npt.NDArray[np.bool_] | None = None) -> Hits:
        """The k best products of each query; see `Retriever.search`. A blank query finds nothing."""
        check_k(k)
        return self._postings.search(self._terms(queries), k, on_sale_C, default_threads())

    def _terms(self, queries: Sequence[SearchText]) -> TermBatch:
        """The vectors of the queries as terms with weights."""
        weighted = [
            [(text, weight) for text, weight in weighted_texts(query) if text.strip() and weight > 0]
            for query in queries
        ]
        texts = list(dict.fromkeys(text for query in weighted for text, _ in query))
        at = {text: row for row, text in enumerate(texts)}
        owners = [n for n, query in enumerate(weighted) for _ in query]
        rows = [at[text] for query in weighted for text, _ in query]
        weights = np.array([weight for query in weighted for _, weight in query], np.float32)
        mixing = sp.csr_matrix((weights, (owners, rows)), shape=(len(queries), len(texts)))
        vectors_NV = (mixing @ self.encoder.encode(texts)).tocsr()
        vectors_NV.sort_indices()
        return TermBatch(vectors_NV.indices.astype(np.int32), vectors_NV.data, vectors_NV.indptr.astype(np.int64))
