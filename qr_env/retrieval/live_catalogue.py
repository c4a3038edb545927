"""Products that come and go while queries stream in: what is on sale now, and search that never finds anything else.

    assortment = Assortment(len(shop.products))
    retriever = LiveRetriever(make_retriever("hybrid", shop, None, encoder), assortment)
    assortment.swap(remove=[3, 17], add=[])              # one new epoch, published at once
    retriever.search(["red sofa"], k=10)                 # k products that are on sale

Rows are addresses: hashes, grades, purchases, verdict stores and caches name products by them. So the shop holds every
product that is ever sold, indexed once, and an epoch is the mask of those on sale. A product that leaves is a tombstone
that the engines skip inside their top k, so that k products still come; one that is added is a tombstone lifted. That
is how segments of Lucene and FAISS treat deletions, with one difference to an index built anew: word statistics (idf,
mean length) stay those of the whole shop, so scores do not jump with every delivery.

An epoch is immutable and published by one assignment. A search reads it once, both engines of a hybrid search the same
one, and a simulator's episode keeps the one that it began in (`LiveRetriever.view`): whatever is swapped meanwhile, a
list before and a list after a rewrite are of one assortment.
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
    """One state of the assortment. number: counts up. on_sale_C: (products,) bool, read-only."""

    number: int
    on_sale_C: BoolArray

    @property
    def mask_C(self) -> BoolArray | None:
        """For the engines: None where everything is on sale, which costs a search nothing."""
        return None if self.on_sale_C.all() else self.on_sale_C


class Assortment:
    """Which products are on sale; safe to read and to change from several threads.

    Args:
        products: how many the shop has. on_sale_C: who is on sale at the start; None: all.
    """

    def __init__(self, products: int, on_sale_C: BoolArray | None = None) -> None:
        self._size = products
        self._lock = Lock()
        self._now = Epoch(0, self._frozen(np.ones(products, np.bool_) if on_sale_C is None else on_sale_C))

    @property
    def now(self) -> Epoch:
        """The newest epoch."""
        return self._now

    def swap(self, remove: Iterable[int] = (), add: Iterable[int] = ()) -> Epoch:
        """Take rows off sale and put others on, as one new epoch. A row in both is on sale.

        Raises ConfigError for a row that the shop does not have.
        """
        leaving, coming = (np.fromiter(rows, np.int64) for rows in (remove, add))
        for rows in (leaving, coming):
            if len(rows) and (rows.min() < 0 or rows.max() >= self._size):
                raise ConfigError(f"product rows {rows.min()} … {rows.max()}: the shop has 0 … {self._size - 1}")
        with self._lock:
            mask_C = self._now.on_sale_C.copy()
            mask_C[leaving], mask_C[coming] = False, True
            return self._publish(mask_C)

    def publish(self, on_sale_C: BoolArray) -> Epoch:
        """The whole mask as one new epoch; where it is what is on sale already, nothing happens."""
        frozen_C = self._frozen(on_sale_C)
        with self._lock:
            return self._now if np.array_equal(frozen_C, self._now.on_sale_C) else self._publish(frozen_C)

    def _publish(self, mask_C: BoolArray) -> Epoch:
        self._now = Epoch(self._now.number + 1, self._frozen(mask_C))
        return self._now

    def _frozen(self, mask_C: BoolArray) -> BoolArray:
        """A copy that nobody can write to."""
        if mask_C.shape != (self._size,):
            raise ConfigError(f"a mask of shape {mask_C.shape} for {self._size} products")
        copy_C = np.array(mask_C, np.bool_)
        copy_C.flags.writeable = False
        return copy_C


class View:
    """A retriever over one epoch, whatever is swapped later."""

    def __init__(self, engine: FilteredRetriever, epoch: Epoch) -> None:
        self.engine, self.epoch, self.name = engine, epoch, engine.name

    def search(self, queries: Sequence[SearchText], k: int, on_sale_C: BoolArray | None = None) -> Hits:
        """See `Retriever.search`; of the products on sale in this epoch (and in `on_sale_C`, where it is given)."""
        mask_C = self.epoch.mask_C
        if on_sale_C is not None:
            mask_C = on_sale_C if mask_C is None else mask_C & on_sale_C
        return self.engine.search(queries, k, mask_C)

    def save(self, folder: Path) -> None:
        """The engine's index; what is on sale is no part of it."""
        self.engine.save(folder)


class LiveRetriever:
    """A retriever in front of a changing assortment: every search sees one epoch, the newest."""

    def __init__(self, engine: FilteredRetriever, assortment: Assortment) -> None:
        self.engine, self.assortment = engine, assortment
        self.name = engine.name

    def view(self) -> View:
        """The newest epoch, held fast."""
        return View(self.engine, self.assortment.now)

    def search(self, queries: Sequence[SearchText], k: int, on_sale_C: BoolArray | None = None) -> Hits:
        """See `Retriever.search`; of the products on sale now."""
        return self.view().search(queries, k, on_sale_C)

    def save(self, folder: Path) -> None:
        """The engine's index; what is on sale is no part of it."""
        self.engine.save(folder)
