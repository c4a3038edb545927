"""The embedded benchmark `generated-v1`: a shop with known relevance, generated from one seed in a few seconds.

    shop = generate(seed=0)            # or load_shop("generated"), or `qr shop generated` at the terminal

How it is made
--------------
1. **Vocabulary** (`words/*.yaml`, `vocabulary.py`): for every product type the merchants' names, the shoppers' names,
   purposes and features in both wordings; for every colour and material the merchants' and the shoppers' name. Some
   of the shoppers' words are held out: only test queries use them, and at least one word of each such phrase is in no
   product and in no other query. They cannot be learned from the training queries, only from general English.
2. **Products** (`products.py`, `titles.py`, `reviews.py`): about 200 products per type, with brand, colour, material,
   size and features drawn independently; titles in five styles state most facts, attributes state all. One product
   in eight is an accessory, whose title holds the noun of the main product: a false match for BM25.
3. **Intents** (`intents.py`): a type and 0 – 3 constraints taken from one product; at least three products meet all.
4. **Queries** (`wording.py`, `noise.py`, `queries.py`): the intent in the merchants' words (37 %, no rewrite needed),
   or in a shopper's: other names, purposes, other words for colours, materials, units and features, typos, wrong
   spaces, misspelt brands, negations, fillers.
5. **Relevance** (`relevance.py`): Exact, Substitute, Complement or Irrelevant follows from the intent and the product
   columns, never from text; every pair is graded.
6. **Oracle rewrite**: the intent in the merchants' words with every noun of the type, without the refused feature.
7. **Traffic** (`traffic.py`): Zipf popularity, and purchases inside and outside search.

No retrieval takes part. `tests/qr_env/shop/generated/test_generate.py` measures the difficulty for BM25 and pins the
content hash: a change of the generator that changes the shop must raise `BENCHMARK`.
"""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa

from qr_env.common.errors import ConfigError
from qr_env.shop.generated.difficulty import difficulty
from qr_env.shop.generated.products import draw_stock
from qr_env.shop.generated.queries import draw_queries
from qr_env.shop.generated.relevance import relevance
from qr_env.shop.generated.titles import write_products
from qr_env.shop.generated.traffic import draw_purchases, popularity
from qr_env.shop.generated.vocabulary import load_vocabulary
from qr_env.shop.shop import QUERY_SCHEMA, Shop

BENCHMARK = "generated-v1"
"""Name and version of the benchmark: `generate()` with seed 0 and the default sizes. Rises when its bytes change."""
BENCHMARK_HASH = "df8482604fc72dde08b82826ff31434b5facaf6df85315d19d0f6313b596b3fa"
"""`Shop.hash` of the benchmark."""
N_PRODUCTS, N_QUERIES = 24_000, 13_000  # of the benchmark; 10,360 train, 1,297 dev and 1,343 test queries
PRODUCTS_PER_TYPE = 20  # minimum: with fewer, three products that meet the same constraints are hard to find
QUERIES_PER_TYPE = 300  # maximum: with more, new texts are hard to find


def generate(seed: int = 0, n_products: int = N_PRODUCTS, n_queries: int = N_QUERIES) -> Shop:
    """A generated shop; the same seed and sizes give the same bytes, the defaults the benchmark `generated-v1`.

    Args:
        seed: of all random draws, 0 or more.
        n_products: number of products, accessories included.
        n_queries: number of queries, all with different texts, 80 / 10 / 10 in train, dev and test.

    Returns:
        A shop with complete qrels, an oracle rewrite for every query, and the slices "held-out words", "typo",
        "synonym", "unit", "colour/material", "purpose", "brand misspelt", "negation", "joined/split", "broad",
        "plain", "unknown word" (a word is in no product) and "no full match" (no product has all its words). Its name
        is "generated-v1" for the defaults, with "-seed3" and "-2000x900" (products × queries) appended otherwise.

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
    ids = [f"Q{row:05d}" for row in range(len(queries.texts))]
    columns = (ids, queries.texts, frequency_N.tolist(), queries.splits)
    table = pa.table([pa.array(column) for column in columns], schema=QUERY_SCHEMA)
    return Shop(
        name=_name(seed, n_products, n_queries),
        products=products,
        queries=table,
        qrels=qrels,
        purchases=draw_purchases(stock, qrels, frequency_N, traffic_rng),
        qrels_complete=True,
        oracle=dict(zip(ids, queries.oracle, strict=True)),
        slices={**queries.slices, **difficulty(products, queries.texts)},
    )


def _name(seed: int, n_products: int, n_queries: int) -> str:
    sizes = "" if (n_products, n_queries) == (N_PRODUCTS, N_QUERIES) else f"-{n_products}x{n_queries}"
    return BENCHMARK + (f"-seed{seed}" if seed else "") + sizes


def _check(seed: int, n_products: int, n_queries: int, n_types: int) -> None:
    if seed < 0:
        raise ConfigError(f"seed={seed}: must be 0 or more")
    if n_products < PRODUCTS_PER_TYPE * n_types:
        raise ConfigError(f"n_products={n_products}: {n_types} types need at least {PRODUCTS_PER_TYPE * n_types}")
    if not 1 <= n_queries <= QUERIES_PER_TYPE * n_types:
        raise ConfigError(f"n_queries={n_queries}: must be between 1 and {QUERIES_PER_TYPE * n_types}")
