"""BM25 over the shop's text: indexed and scored by bm25s, searched in one compiled loop over the whole batch.

    bm25 = BM25.build(shop)
    bm25.search(["red sofa", (("red sofa", 2.0), ("couch", 1.0))], k=10).rows_NK  # (2, 10)

A weight multiplies the contribution of each term of its text to a product's score: weight 2 equals the text twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from qr_env.common.atomic_io import atomic_cache_folder
from qr_env.common.errors import ConfigError, IndexMismatchError
from qr_env.common.types import Hits, SearchText
from qr_env.language.tokenize import TOKENIZER_VERSION, Tokenizer
from qr_env.retrieval.base import cache_folder, check_k, default_threads, read_meta, weighted_texts, write_meta
from qr_env.retrieval.postings import Postings, TermBatch
from qr_env.shop.shop import PRODUCT_SCHEMA, Shop

if TYPE_CHECKING:
    import bm25s


@dataclass(frozen=True, slots=True)
class BM25Settings:
    """Settings of an index; part of its key on disk."""

    fields: tuple[tuple[str, int], ...] = (("title", 5), ("brand", 1), ("category", 1), ("color", 1), ("attributes", 1))
    """(column, integer weight ≥ 1: how often its words count). Title 5, because long attribute lists would outweigh
    titles; runs/LOG.md has the comparison of weights."""
    k1: float = 1.5
    """Saturation of repeated words."""
    b: float = 0.75
    """Normalisation by length, 0 (none) to 1."""

    def __post_init__(self) -> None:
        columns = {name for name in PRODUCT_SCHEMA.names if name not in ("product_id", "price")}
        for name, count in self.fields:
            if name not in columns:
                raise ConfigError(f"no text field {name!r} to index; choose from {sorted(columns)}")
            if count < 1 or count != int(count):
                raise ConfigError(f"field {name!r} counts {count!r} times; give an integer of 1 or more")

    def key(self) -> dict[str, Any]:
        """The settings and the tokenizer's version, as JSON."""
        return {**asdict(self), "tokenizer": TOKENIZER_VERSION}


class BM25:
    """BM25 (Lucene's variant, Kamphuis et al. 2020) of one shop's products."""

    name = "bm25"

    def __init__(
        self, engine: bm25s.BM25, products_hash: str, settings: BM25Settings, tokenizer: Tokenizer, threads: int = 0
    ) -> None:
        """Use `build` or `load`. threads: 0 takes OMP_NUM_THREADS, else every core."""
        self.tokenizer = tokenizer
        self.engine = engine
        self.products_hash = products_hash
        self.settings = settings
        self.threads = threads or default_threads()
        scores = engine.scores
        self.num_docs = int(scores["num_docs"])
        self._postings = Postings(
            np.asarray(scores["data"], np.float32),  # views of the memory map: nothing is read yet
            np.asarray(scores["indices"], np.int32),
            np.asarray(scores["indptr"], np.int64),
            self.num_docs,
        )
        self._ids: dict[str, tuple[int, ...]] = {}  # word → ids of its terms that the index has; bounded

    @classmethod
    def build(cls, shop: Shop, *, threads: int = 0, show_progress: bool = False, **settings: Any) -> BM25:
        """Index a shop. settings: fields of `BM25Settings`. Raises ConfigError for invalid ones."""
        import bm25s

        chosen = BM25Settings(**settings)
        ids, vocabulary = _term_ids(shop, chosen, show_progress)
        engine = bm25s.BM25(k1=chosen.k1, b=chosen.b, method="lucene", backend="numba", auto_compile=False)
        engine.index((ids, vocabulary), create_empty_token=False, show_progress=show_progress)
        return cls(engine, shop.products_hash, chosen, shop.tokenizer, threads)

    @classmethod
    def cached(cls, shop: Shop, cache_dir: Path | None, *, threads: int = 0, **settings: Any) -> BM25:
        """Load from `cache_dir`, or build and save there; with None only build."""
        if cache_dir is None:
            return cls.build(shop, threads=threads, show_progress=len(shop.products) > 100_000, **settings)
        folder = cache_folder(cache_dir, cls.name, shop, BM25Settings(**settings).key())
        if not folder.is_dir():
            built = cls.build(shop, threads=threads, show_progress=len(shop.products) > 100_000, **settings)
            built.save(folder)
        return cls.load(folder, shop, threads=threads)

    def save(self, folder: Path) -> None:
        """Write a folder that `load` and `bm25s.BM25.load` can read, atomically."""
        with atomic_cache_folder(folder) as scratch:
            self.engine.save(str(scratch), show_progress=False)
            write_meta(scratch, self.name, self.products_hash, self.settings.key())

    @classmethod
    def load(cls, folder: Path, shop: Shop, *, threads: int = 0) -> BM25:
        """Memory-map a saved index. Raises IndexMismatchError if it is of another shop, or damaged."""
        import bm25s

        saved = read_meta(folder, cls.name, shop)
        if saved.pop("tokenizer") != TOKENIZER_VERSION:
            raise IndexMismatchError(f"{folder} was built by another version of the tokenizer; build the index again")
        settings = replace(BM25Settings(), **{**saved, "fields": tuple(map(tuple, saved["fields"]))})
        try:
            engine = bm25s.BM25.load(str(folder), mmap=True, auto_compile=False, show_progress=False)
        except (OSError, ValueError) as error:
            raise IndexMismatchError(f"{folder} is damaged ({error}); delete it and build the index again") from error
        return cls(engine, shop.products_hash, settings, shop.tokenizer, threads)

    def search(self, queries: Sequence[SearchText], k: int, on_sale_C: npt.NDArray[np.bool_] | None = None) -> Hits:
        """The k best products of each query; see `Retriever.search`. Ties go to the lower row."""
        check_k(k)
        return self._postings.search(TermBatch(*self.encode(queries)), k, on_sale_C, self.threads)

    def tokens(self, text: str) -> list[str]:
        """Index terms of a text, in order, known to the index or not; stop words are removed."""
        return self.tokenizer.terms(text)

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Index term → number of products that have it."""
        counts = np.diff(self._postings.starts).tolist()
        return {term: counts[number] for term, number in self.engine.vocab_dict.items() if term}

    def encode(self, queries: Sequence[SearchText]) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
        """The batch as flat arrays: term ids, their weights, and the start of each query in them (N + 1)."""
        ids: list[int] = []
        weights: list[float] = []
        starts = [0]
        for query in queries:
            for text, weight in weighted_texts(query):
                found = self._term_ids_of(text) if weight > 0 else []
                ids += found
                weights += [weight] * len(found)
            starts.append(len(ids))
        return np.array(ids, np.int32), np.array(weights, np.float32), np.array(starts, np.int64)

    def _term_ids_of(self, text: str) -> list[int]:
        """Ids of the text's terms that the index has."""
        ids = self._ids
        known: list[int] = []
        for word in self.tokenizer.words(text):
            numbers = ids.get(word)
            known += self._look_up(word) if numbers is None else numbers
        return known

    def _look_up(self, word: str) -> tuple[int, ...]:
        if len(self._ids) > 1 << 18:  # endless traffic has endless typos
            self._ids.clear()
        ids = self.engine.vocab_dict
        self._ids[word] = tuple(ids[term] for term in self.tokenizer.terms_of(word) if term in ids)
        return self._ids[word]


def _term_ids(shop: Shop, settings: BM25Settings, show_progress: bool) -> tuple[list[list[int]], dict[str, int]]:
    """Term ids of every product, fields repeated by their count, and term → id."""
    vocabulary: dict[str, int] = {}
    of_word: dict[str, tuple[int, ...]] = {}
    ids: list[list[int]] = [[] for _ in range(len(shop.products))]
    for name, count in settings.fields:
        texts = shop.products[name].to_pylist()
        for row, text in enumerate(tqdm(texts, desc=f"words of {name}", disable=not show_progress, leave=False)):
            if text:
                ids[row] += term_ids(text, shop.tokenizer, of_word, vocabulary) * int(count)
    if not vocabulary:  # bm25s cannot index an empty corpus: one document with a term that no query has
        return [[0]], {"": 0}
    return ids, vocabulary


def term_ids(
    text: str, tokenizer: Tokenizer, of_word: dict[str, tuple[int, ...]], vocabulary: dict[str, int]
) -> list[int]:
    """Term ids of a text in order, without stop words.

    Args:
        of_word: word → ids of its terms; grows by the text's new words.
        vocabulary: term → id; grows with it.
    """
    found: list[int] = []
    for word in tokenizer.words(text):
        numbers = of_word.get(word)
        if numbers is None:
            numbers = tuple(vocabulary.setdefault(term, len(vocabulary)) for term in tokenizer.terms_of(word))
            of_word[word] = numbers
        found += numbers
    return found
