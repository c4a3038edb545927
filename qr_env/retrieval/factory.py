"""Retrievers by name.

    retriever = make_retriever("bm25", shop, Path("~/.cache/qr-env").expanduser())
    hits = retriever.search(["red sofa", (("red sofa", 2.0), ("crimson couch", 1.0))], k=10)

bm25[:SETTINGS]       words (qr_env/retrieval/bm25.py); SETTINGS: fields=title*5+description,k1=1.2,b=0.6, or FILE.json
dense[:MODEL]         cosine similarity of text vectors (dense.py); MODEL: a sentence-transformers model, default MiniLM
hybrid[:MODEL]        both, fused by reciprocal rank (hybrid.py)
hybrid:bm25:SETTINGS  both with MiniLM, BM25 with these settings
splade[:MODEL]        learned sparse vectors (splade.py); MODEL: a SPLADE model, default splade-tiny

Any other name is looked up among the entry points of group `qr_env.retrievers` (`qr_env.common.plugins`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from qr_env.common.download import cache_root
from qr_env.common.plugins import load_plugin
from qr_env.common.protocols import FilteredRetriever, TextEncoder
from qr_env.models.hub import resolve
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.bm25_spec import BM25_PREFIX, explicit_spec, read_bm25_settings
from qr_env.retrieval.dense import Dense
from qr_env.retrieval.encoder import Encoder
from qr_env.retrieval.hybrid import Hybrid
from qr_env.retrieval.sparse_encoder import SparseEncoder
from qr_env.retrieval.splade import Splade
from qr_env.shop.shop import Shop

GROUP = "qr_env.retrievers"
DEFAULT_ENCODER = "minilm-l6"
DEFAULT_SPARSE_ENCODER = "splade-tiny"
_NEED_ENCODER = ("dense", "hybrid")


def make_retriever(
    spec: str, shop: Shop, cache_dir: Path | None = None, encoder: TextEncoder | None = None
) -> FilteredRetriever:
    """The retriever called `spec`, built, or loaded where `cache_dir` holds an index of the same products and settings.

    Args:
        spec: a name of the module docstring, or one that another package registers.
        shop: whose products are searched.
        cache_dir: where indexes are kept; None keeps everything in memory.
        encoder: of dense and hybrid; None loads the model that `spec` names.

    Raises:
        ConfigError: no such retriever.
    """
    kind, _, argument = spec.partition(":")
    retriever: FilteredRetriever = load_plugin(GROUP, kind, BUILDERS)(shop, argument, cache_dir, encoder)
    return retriever


def retriever_uses_encoder(spec: str) -> bool:
    """Whether the retriever called `spec` embeds texts with the `encoder` argument of `make_retriever`."""
    return spec.partition(":")[0] in _NEED_ENCODER


def checked_retriever(spec: str) -> str:
    """The name, with the content of a settings file instead of its path.

    Raises:
        ConfigError: no such retriever, or settings of BM25 that cannot be used.
    """
    kind, _, argument = spec.partition(":")
    load_plugin(GROUP, kind, BUILDERS)
    settings = argument.removeprefix(BM25_PREFIX)
    if kind == "bm25" or settings != argument:
        read_bm25_settings(settings)
    return explicit_spec(spec)


def default_encoder(model: str = DEFAULT_ENCODER) -> Encoder:
    """A text encoder by the names of `qr_env.models.hub`, its product vectors kept in the cache folder.

    A process opens one encoder a model, so that engines, judges and suggestions embed a query once.
    """
    return _shared_encoder(Path(resolve(model)), cache_root())


@lru_cache(maxsize=2)
def _shared_encoder(folder: Path, cache_dir: Path) -> Encoder:
    return Encoder(folder, cache_dir=cache_dir)


def build_bm25(
    shop: Shop, argument: str = "", cache_dir: Path | None = None, encoder: TextEncoder | None = None
) -> BM25:
    """BM25 with the settings that `argument` names (`bm25_spec.py`), or the defaults; needs no encoder."""
    return BM25.cached(shop, cache_dir, **asdict(read_bm25_settings(argument)))


def build_dense(
    shop: Shop, argument: str = "", cache_dir: Path | None = None, encoder: TextEncoder | None = None
) -> Dense:
    """Dense retrieval with `encoder`, or with the model that `argument` names."""
    return Dense.cached(shop, encoder or default_encoder(argument or DEFAULT_ENCODER), cache_dir)


def build_hybrid(
    shop: Shop, argument: str = "", cache_dir: Path | None = None, encoder: TextEncoder | None = None
) -> Hybrid:
    """BM25 and dense, fused; `argument` names the dense model, or after `bm25:` the settings of BM25."""
    settings = argument.removeprefix(BM25_PREFIX)
    model = argument if settings == argument else ""
    bm25 = build_bm25(shop, "" if model else settings, cache_dir)
    return Hybrid((bm25, build_dense(shop, model, cache_dir, encoder)))


def build_splade(
    shop: Shop, argument: str = "", cache_dir: Path | None = None, encoder: TextEncoder | None = None
) -> Splade:
    """Learned sparse retrieval with the model that `argument` names; needs no dense encoder."""
    return Splade.cached(shop, SparseEncoder(resolve(argument or DEFAULT_SPARSE_ENCODER)), cache_dir)


BUILDERS: dict[str, Callable[..., FilteredRetriever]] = {
    "bm25": build_bm25,
    "dense": build_dense,
    "hybrid": build_hybrid,
    "splade": build_splade,
}
