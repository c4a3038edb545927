"""The engine check (`qr_env/evaluation/engine_check.py`) for `qr shop --check-engine` and, in one line, `qr online`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from judges.factory import open_judge
from qr_env.common.atomic_io import atomic_write
from qr_env.common.download import cache_root
from qr_env.common.hashing import sha256_text
from qr_env.common.messages import print_message
from qr_env.common.types import Query
from qr_env.evaluation.engine_check import check_engines
from qr_env.evaluation.engine_outcome import EngineCheck
from qr_env.evaluation.made_up import typed_queries
from qr_env.models.hub import model_folder
from qr_env.retrieval.bm25_spec import bm25_spec, read_bm25_settings
from qr_env.retrieval.encoder import vectors_file
from qr_env.retrieval.factory import DEFAULT_ENCODER, build_dense, default_encoder
from qr_env.shop.shop import Shop

QUERIES = 2_000
BRIEF_QUERIES = 500
FEWEST_QUERIES = 50  # below, the brief check says nothing
BRIEF_PRODUCTS = 100_000  # above, the brief check would take minutes
JUDGE = "fields"
CHECK_VERSION = 1  # raise when the check would answer otherwise than before: its answers are kept on disk


def full_check(shop: Shop, judge: str, has_dense: bool, seed: int = 0) -> EngineCheck:
    """The check on up to `QUERIES` queries, with hybrid engines if `has_dense`, and with labels where there are any."""
    queries = log_queries(shop, QUERIES, seed)
    dense = build_dense(shop, cache_dir=cache_root()) if has_dense else None
    return check_engines(shop, open_judge(judge, shop), queries, dense=dense, seed=seed, show_progress=True)


def brief_check(shop: Shop, retriever: str) -> str | None:
    """One sentence if other settings of BM25 are clearly better than those of `retriever`, "bm25[:SETTINGS]".

    Uses up to `BRIEF_QUERIES` queries and no label; about 20 s for 50,000 products the first time, then read from disk.
    None where the engine should stay, and where there are fewer than `FEWEST_QUERIES` queries.
    """
    queries = log_queries(shop, BRIEF_QUERIES, seed=0)
    if len(queries) < FEWEST_QUERIES:
        return None
    if len(shop.products) > BRIEF_PRODUCTS:
        return f"left out for {len(shop.products):,} products; qr shop SHOP --check-engine compares search engines"
    baseline = read_bm25_settings(retriever.partition(":")[2])
    key = [CHECK_VERSION, JUDGE, shop.products_hash, bm25_spec(baseline), *(query.text for query in queries)]
    file = cache_root() / "engine_checks" / f"{sha256_text(json.dumps(key), 20)}.json"
    if not file.is_file():
        print_message("engine check: compares settings of BM25 on the log's queries, without labels")
        check = check_engines(shop, open_judge(JUDGE, shop), queries, baseline=baseline, with_labels=False)
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(file, json.dumps({"advice": check.sentence() if check.is_clear else None}))
    advice: str | None = json.loads(file.read_text(encoding="utf-8"))["advice"]
    return advice


def log_queries(shop: Shop, limit: int, seed: int) -> list[Query]:
    """Up to `limit` queries that shoppers typed, drawn by the seed: of train and dev if these suffice, else of all."""
    typed = typed_queries(shop, shop.all_queries)
    held_in = [query for query in typed if query.split != "test"]
    queries: Sequence[Query] = held_in if len(held_in) >= min(limit, BRIEF_QUERIES) else typed
    drawn = np.sort(np.random.default_rng(seed).permutation(len(queries))[:limit])
    return [queries[at] for at in drawn.tolist()]


def has_vectors(shop: Shop) -> bool:
    """Whether the vectors of the products are on disk."""
    return model_folder(DEFAULT_ENCODER).is_dir() and vectors_file(shop, default_encoder(), cache_root()).is_file()
