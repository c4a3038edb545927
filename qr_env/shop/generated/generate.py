"""The embedded default: a shop with known truth, made from one seed in a few seconds.

    shop = generate(seed=0)            # or load_shop("generated"), or `qr shop generated` at the terminal

How it is made
--------------
1. **Words** (`world/*.yaml`, `world_vocabulary.py`): for every type of product, what merchants call it, what shoppers
   call it, what it is for, its features in both languages; for every colour and material the merchants' name and the
   shoppers'. Some of the shoppers' words are held out: only test queries have them, and at least one word of each such
   phrase is in no product and in no other query. A word list learned from the training queries does not know them;
   somebody who knows English does.
2. **Stock** (`world_products.py`, `world_titles.py`): about 200 products a type, with brand, colour, material, size and
   features drawn independently; titles in five styles that state most facts, attributes that state all. One product
   in eight is an accessory, whose title holds the noun of what it goes with: BM25's trap.
3. **Needs** (`world_intents.py`): a type and 0 – 3 constraints as some product on sale meets them, with at least three
   products that meet all.
4. **Queries** (`world_wording.py`, `world_noise.py`, `world_queries.py`): the need in the merchants' words (a good
   third: best left alone), or in a shopper's: another name, a purpose, colours, materials, units and features said
   differently, typos, wrong spaces, misspelt brands, negations, fillers.
5. **Relevance** (`world_relevance.py`): Exact, Substitute, Complement or Irrelevant follows from the need and the
   stock's columns, never from text; every pair is graded.
6. **Oracle**: the need in the merchants' words with every noun of the type, what is refused left out.
7. **Traffic** (`world_traffic.py`): Zipf popularity, and purchases inside and outside search.

No retrieval takes part; `tests/qr_env/shop/generated/test_generate.py` holds how hard the shop is for BM25.
"""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa

from qr_env.common.errors import ConfigError
from qr_env.shop.generated.difficulty import difficulty
from qr_env.shop.generated.products import draw_stock
from qr_env.shop.generated.queries import Queries, draw_queries
from qr_env.shop.generated.relevance import relevance
from qr_env.shop.generated.titles import write_products
from qr_env.shop.generated.traffic import draw_purchases, popularity
from qr_env.shop.generated.vocabulary import load_vocabulary
from qr_env.shop.shop import QUERY_SCHEMA, Shop

PRODUCTS_PER_TYPE = 20  # fewer, and three products that meet the same constraints are hard to find
QUERIES_PER_TYPE = 300  # more, and new texts get hard to find


def generate(seed: int = 0, n_products: int = 24_000, n_queries: int = 13_000) -> Shop:
    """A generated shop; the same seed and sizes give the same bytes.

    Args:
        seed: of everything that is drawn, 0 or more.
        n_products: products, accessories included.
        n_queries: queries with different texts, 80 / 10 / 10 in train, dev and test.

    Returns:
        A shop with complete qrels, an oracle rewrite for every query, and the slices "held-out words", "typo",
        "synonym", "unit", "colour/material", "purpose", "brand misspelt", "negation", "joined/split", "broad",
        "plain", "unknown word" (a word is in no product) and "no full match" (no product has all its words).

    Raises:
        ConfigError: a size that the vocabulary cannot fill, or a negative seed.
    """
    vocabulary = load_vocabulary()
    _check(seed, n_products, n_queries, len(vocabulary.types))
    stock_rng, query_rng, traffic_rng = np.random.default_rng([seed, 0x5409]).spawn(3)
    stock = draw_stock(vocabulary, n_products, stock_rng)
    products = write_products(vocabulary, stock, random.Random(int(stock_rng.integers(2**63))))
    queries = draw_queries(vocabulary, stock, n_queries, random.Random(int(query_rng.integers(2**63))))
    qrels = relevance(vocabulary, stock, queries.intents)
    frequency_N = popularity(queries, traffic_rng)
    table = _table(queries, frequency_N)
    return Shop(
        name="generated" if seed == 0 else f"generated-{seed}",
        products=products,
        queries=table,
        qrels=qrels,
        purchases=draw_purchases(stock, qrels, frequency_N, traffic_rng),
        qrels_complete=True,
        oracle=dict(zip(table["query_id"].to_pylist(), queries.oracle, strict=True)),
        slices={**queries.slices, **difficulty(products, queries.texts)},
    )


def _check(seed: int, n_products: int, n_queries: int, n_types: int) -> None:
    if seed < 0:
        raise ConfigError(f"seed={seed}: must be 0 or more")
    if n_products < PRODUCTS_PER_TYPE * n_types:
        raise ConfigError(f"n_products={n_products}: {n_types} types need at least {PRODUCTS_PER_TYPE * n_types}")
    if not 1 <= n_queries <= QUERIES_PER_TYPE * n_types:
        raise ConfigError(f"n_queries={n_queries}: must be between 1 and {QUERIES_PER_TYPE * n_types}")


def _table(queries: Queries, frequency_N: np.ndarray) -> pa.Table:
    ids = [f"Q{row:05d}" for row in range(len(queries.texts))]
    columns = (ids, queries.texts, frequency_N.tolist(), queries.splits)
    return pa.table([pa.array(column) for column in columns], schema=QUERY_SCHEMA)
