"""Dense retrieval: nearest product vectors with FAISS, exact up to a million products.

    dense = Dense.build(shop, Encoder(resolve("minilm-l6")))
    dense.search(["something to keep coffee hot"], k=10).rows_NK  # (1, 10)

Scores are cosines, rounded to 1e-5, ties go to the lower row: the last bits of FAISS' scores depend on the batch size,
so unrounded scores could order similar products differently alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qr_env.common.atomic_io import atomic_cache_folder
from qr_env.common.errors import IndexMismatchError
from qr_env.common.packages import require
from qr_env.common.protocols import TextEncoder
from qr_env.common.types import FloatArray, Hits, SearchText
from qr_env.retrieval.base import cache_folder, check_k, default_threads, read_meta, write_meta
from qr_env.retrieval.encoder import PRODUCT_FIELDS, encode_queries, product_vectors
from qr_env.shop.shop import Shop

if TYPE_CHECKING:
    import faiss

_FILE = "index.faiss"
BoolArray = npt.NDArray[np.bool_]
# FAISS on a GPU gives at most this many hits a query; longer lists are searched on the CPU.
_GPU_MAX_K = 2048


@dataclass(frozen=True, slots=True)
class DenseSettings:
    """Settings of an index; part of its key on disk."""

    fields: tuple[str, ...] = PRODUCT_FIELDS
    """Product columns that are embedded, see `encoder.product_texts`."""
    flat_limit: int = 1_000_000
    """Up to this many products the search is exact; above, an inverted file (IVF) of 4 √products cells."""
    probe: float = 1 / 16
    """Share of the cells that a search visits."""


class Dense:
    """Nearest products by cosine."""

    name = "dense"

    def __init__(self, index: faiss.Index, encoder: TextEncoder, products_hash: str, settings: DenseSettings) -> None:
        """Use `build` or `load`."""
        self.index = index
        self.encoder = encoder
        self.products_hash = products_hash
        self.settings = settings

    @classmethod
    def build(cls, shop: Shop, encoder: TextEncoder, *, cache_dir: Path | None = None, **settings: Any) -> Dense:
        """Embed a shop's products and index them. cache_dir keeps the vectors; settings: of `DenseSettings`."""
        require("faiss", what="dense retrieval")
        chosen = DenseSettings(**settings)
        return cls.of_vectors(shop, encoder, product_vectors(shop, encoder, cache_dir, chosen.fields), chosen)

    @classmethod
    def of_vectors(
        cls, shop: Shop, encoder: TextEncoder, vectors_CD: FloatArray, settings: DenseSettings | None = None
    ) -> Dense:
        """Index given unit vectors of the shop's products, (products, D)."""
        chosen = settings or DenseSettings()
        return cls(_index(vectors_CD, chosen), encoder, shop.products_hash, chosen)

    @classmethod
    def cached(cls, shop: Shop, encoder: TextEncoder, cache_dir: Path | None, **settings: Any) -> Dense:
        """Load from `cache_dir`, or build and save there; with None only build."""
        if cache_dir is None:
            return cls.build(shop, encoder, **settings)
        key = {**asdict(DenseSettings(**settings)), "encoder": encoder.name}
        folder = cache_folder(cache_dir, cls.name, shop, key)
        if not folder.is_dir():
            cls.build(shop, encoder, cache_dir=cache_dir, **settings).save(folder)
        return cls.load(folder, shop, encoder)

    def save(self, folder: Path) -> None:
        """Write the index atomically."""
        import faiss

        with atomic_cache_folder(folder) as scratch:
            faiss.write_index(self.index, str(scratch / _FILE))
            settings = {**asdict(self.settings), "encoder": self.encoder.name}
            write_meta(scratch, self.name, self.products_hash, settings)

    @classmethod
    def load(cls, folder: Path, shop: Shop, encoder: TextEncoder) -> Dense:
        """Memory-map a saved index. Raises IndexMismatchError if it is of another shop or encoder, or damaged."""
        require("faiss", what="dense retrieval")
        import faiss

        saved = read_meta(folder, cls.name, shop)
        if (maker := saved.pop("encoder")) != encoder.name:
            raise IndexMismatchError(f"{folder} was embedded by {maker}, not by {encoder.name}; build the index again")
        try:
            index = faiss.read_index(str(Path(folder) / _FILE), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise IndexMismatchError(f"{folder} is damaged; delete it and build the index again ({error})") from error
        return cls(index, encoder, shop.products_hash, DenseSettings(**{**saved, "fields": tuple(saved["fields"])}))

    def search(self, queries: Sequence[SearchText], k: int, on_sale_C: BoolArray | None = None) -> Hits:
        """The k nearest products of each query; see `Retriever.search`. An empty query finds nothing."""
        check_k(k)
        return self.search_vectors(encode_queries(self.encoder, queries), k, on_sale_C)

    def search_vectors(self, vectors_ND: FloatArray, k: int, on_sale_C: BoolArray | None = None) -> Hits:
        """The same for (N, D) query vectors of length 1, or 0 (finds nothing)."""
        if on_sale_C is None:
            return self._nearest(vectors_ND, k)
        return self._on_sale(np.asarray(vectors_ND, np.float32), k, on_sale_C)

    def _on_sale(self, vectors_ND: FloatArray, k: int, on_sale_C: BoolArray) -> Hits:
        """Search among the products on sale: fetch more than k and filter, which is as fast as an unfiltered search.
        Lists that come out short are searched again with a filter inside FAISS, which is slow."""
        import faiss

        off = len(on_sale_C) - int(np.count_nonzero(on_sale_C))
        width = k + 8 + 3 * k * off // max(len(on_sale_C), 1)
        wide = self._nearest(vectors_ND, width)
        on_sale_NK = (wide.rows_NK >= 0) & on_sale_C[wide.rows_NK]
        hits = _filtered(wide, on_sale_NK, k)
        short = np.flatnonzero((hits.rows_NK[:, -1] < 0) & (wide.rows_NK[:, -1] >= 0))
        if len(short) and width < len(on_sale_C):
            selector = faiss.IDSelectorBitmap(np.packbits(on_sale_C, bitorder="little"))  # type: ignore[call-arg, arg-type]
            again = self._nearest(vectors_ND[short], k, selector)
            hits.rows_NK[short], hits.scores_NK[short] = again.rows_NK, again.scores_NK
        return hits

    def _nearest(self, vectors_ND: FloatArray, k: int, selector: faiss.IDSelector | None = None) -> Hits:
        """Among all products, or those that a FAISS selector accepts (on the CPU)."""
        rows_NK = np.full((len(vectors_ND), k), -1, np.int32)
        scores_NK = np.full((len(vectors_ND), k), -np.inf, np.float32)
        width = min(k, self.index.ntotal)
        if width and len(vectors_ND):
            gpu_index = self._on_gpu
            use_gpu = gpu_index is not None and width <= _GPU_MAX_K and selector is None
            index = gpu_index if gpu_index is not None and use_gpu else self.index
            settings = None if selector is None else _with_selector(self.index, selector)
            cosines, found = index.search(np.ascontiguousarray(vectors_ND, np.float32), width, params=settings)
            rows_NK[:, :width], scores_NK[:, :width] = _ordered(found, cosines, np.any(vectors_ND, axis=1))
        return Hits(rows_NK, scores_NK)

    @cached_property
    def _on_gpu(self) -> faiss.Index | None:
        """A copy of the index on the first GPU; None without a GPU or GPU support in FAISS."""
        import faiss

        faiss.omp_set_num_threads(default_threads())
        if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
            return None
        self._gpu_resources = faiss.StandardGpuResources()  # must outlive the index
        return faiss.index_cpu_to_gpu(self._gpu_resources, 0, self.index)


def _index(vectors_ND: FloatArray, settings: DenseSettings) -> faiss.Index:
    """FAISS index of the vectors by inner product: flat, or inverted file above the limit."""
    import faiss

    count, dim = vectors_ND.shape
    if count <= settings.flat_limit:
        flat = faiss.IndexFlatIP(dim)
        flat.add(np.ascontiguousarray(vectors_ND))
        return flat
    cells = max(1, min(int(4 * count**0.5), count // 39))  # FAISS warns below 39 training vectors a cell
    index = faiss.index_factory(dim, f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(np.ascontiguousarray(vectors_ND))
    for start in range(0, count, 1 << 18):  # bounded copies when the vectors are memory-mapped
        index.add(np.ascontiguousarray(vectors_ND[start : start + (1 << 18)]))
    index.nprobe = max(1, round(cells * settings.probe))  # type: ignore[attr-defined]
    return index


def _with_selector(index: faiss.Index, selector: faiss.IDSelector) -> faiss.SearchParameters:
    """FAISS' search parameters: those of the index, and the filter. (The stubs know the C++ constructors only.)"""
    import faiss

    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(sel=selector, nprobe=index.nprobe)  # type: ignore[call-arg]
    return faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]


def _filtered(wide: Hits, keep_NM: BoolArray, k: int) -> Hits:
    """The first k hits of each list where keep_NM is True, in their order, (N, k)."""
    order_NK = np.argsort(~keep_NM, axis=1, kind="stable")[:, :k]
    kept_NK = np.take_along_axis(keep_NM, order_NK, axis=1)
    rows_NK = np.where(kept_NK, np.take_along_axis(wide.rows_NK, order_NK, axis=1), np.int32(-1))
    scores_NK = np.where(kept_NK, np.take_along_axis(wide.scores_NK, order_NK, axis=1), np.float32(-np.inf))
    return Hits(rows_NK, scores_NK)


def _ordered(
    found_NK: np.ndarray, cosines_NK: FloatArray, has_text_N: npt.NDArray[np.bool_]
) -> tuple[np.ndarray, FloatArray]:
    """Rows and rounded scores, ties by row; padding where FAISS found nothing or the query has no text."""
    real_NK = (found_NK >= 0) & has_text_N[:, None]
    scores_NK: FloatArray = np.round(np.where(real_NK, cosines_NK, np.float32(-np.inf)), 5).astype(np.float32)
    rows_NK = np.where(real_NK, found_NK, -1).astype(np.int32)
    order_NK = np.lexsort((rows_NK, -scores_NK), axis=1)
    return np.take_along_axis(rows_NK, order_NK, axis=1), np.take_along_axis(scores_NK, order_NK, axis=1)
