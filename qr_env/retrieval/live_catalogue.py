"""A changing assortment: which products are on sale now, and a retriever that finds only those.

    assortment = Assortment(len(shop.products))
    retriever = LiveRetriever(make_retriever("hybrid", shop, None, encoder), assortment)
    assortment.swap(remove=[3, 17], add=[])              # publishes one new epoch
    retriever.search(["red sofa"], k=10)                 # k products that are on sale

Hashes, grades, purchases, verdict stores and caches identify products by row. So the shop holds every product that is
ever sold, indexed once, and an epoch is the mask of those on sale. Engines skip the others inside their top k, so that
k products are still found. Lucene and FAISS treat deletions the same way, with one difference to a rebuilt index: word
statistics (idf, mean length) stay those of all products, so that scores do not jump with every change.

An epoch is immutable and published by one assignment. A search reads it once, both engines of a hybrid use the same
epoch, and a simulator's episode keeps the epoch that it began in (`LiveRetriever.view`): the lists before and after a
rewrite are always of one assortment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError
from qr_env.common.protocols import FilteredRetriever
from qr_env.common.types import Hits, SearchText

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Epoch:
    """One state of the assortment."""

    number: int
    """counts up from 0"""
    on_sale_C: BoolArray
    """(products,) bool, read-only"""

    @property
    def mask_C(self) -> BoolArray | None:
        """Mask for the engines; None if all products are on sale, because an unmasked search is faster."""
        return None if self.on_sale_C.all() else self.on_sale_C


class Assortment:
    """Which products are on sale; several threads may read and change it.

    Args:
        products: number of products in the shop.
        on_sale_C: mask at the start; None: all products.
    """

    def __init__(self, products: int, on_sale_C: BoolArray | None = None) -> None:
        self._size = products
        self._lock = Lock()
        self._newest = Epoch(0, self._read_only(np.ones(products, np.bool_) if on_sale_C is None else on_sale_C))

    @property
    def now(self) -> Epoch:
        """The newest epoch."""
        return self._newest

    def swap(self, remove: Iterable[int] = (), add: Iterable[int] = ()) -> Epoch:
        """Take rows off sale and put others on, as one new epoch. A row in both is on sale.

        Raises ConfigError for a row that the shop does not have.
        """
        leaving, coming = (np.fromiter(rows, np.int64) for rows in (remove, add))
        for rows in (leaving, coming):
            if len(rows) and (rows.min() < 0 or rows.max() >= self._size):
                raise ConfigError(f"product rows {rows.min()} … {rows.max()}: the shop has 0 … {self._size - 1}")
        with self._lock:
            mask_C = self._newest.on_sale_C.copy()
            mask_C[leaving], mask_C[coming] = False, True
            return self._publish(mask_C)

    def publish(self, on_sale_C: BoolArray) -> Epoch:
        """Publish a mask as a new epoch; returns the current one if the mask is the same."""
        frozen_C = self._read_only(on_sale_C)
        with self._lock:
            return self._newest if np.array_equal(frozen_C, self._newest.on_sale_C) else self._publish(frozen_C)

    def _publish(self, mask_C: BoolArray) -> Epoch:
        self._newest = Epoch(self._newest.number + 1, self._read_only(mask_C))
        return self._newest

    def _read_only(self, mask_C: BoolArray) -> BoolArray:
        """A read-only copy."""
        if mask_C.shape != (self._size,):
            raise ConfigError(f"a mask of shape {mask_C.shape} for {self._size} products")
        copy_C = np.array(mask_C, np.bool_)
        copy_C.flags.writeable = False
        return copy_C


class View:
    """A retriever over one fixed epoch."""

    def __init__(self, engine: FilteredRetriever, epoch: Epoch) -> None:
        self.engine, self.epoch, self.name = engine, epoch, engine.name

    def search(self, queries: Sequence[SearchText], k: int, on_sale_C: BoolArray | None = None) -> Hits:
        """See `Retriever.search`; among the products on sale in this epoch (and True in `on_sale_C`, if given)."""
        mask_C = self.epoch.mask_C
        if on_sale_C is not None:
            mask_C = on_sale_C if mask_C is None else mask_C & on_sale_C
        return self.engine.search(queries, k, mask_C)

    def save(self, folder: Path) -> None:
        """Save the engine's index; the assortment is not part of it."""
        self.engine.save(folder)


class LiveRetriever:
    """A retriever over a changing assortment: every search uses the newest epoch."""

    def __init__(self, engine: FilteredRetriever, assortment: Assortment) -> None:
        self.engine, self.assortment = engine, assortment
        self.name = engine.name

    def view(self) -> View:
        """A retriever fixed to the newest epoch."""
        return View(self.engine, self.assortment.now)

    def search(self, queries: Sequence[SearchText], k: int, on_sale_C: BoolArray | None = None) -> Hits:
        """See `Retriever.search`; among the products on sale now."""
        return self.view().search(queries, k, on_sale_C)

    def save(self, folder: Path) -> None:
        """Save the engine's index; the assortment is not part of it."""
        self.engine.save(folder)
