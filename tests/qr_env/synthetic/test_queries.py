"""Synthetic queries: the shop's own data stay unchanged, grades follow the words, synonyms come from descriptions."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT
from qr_env.language.tokenize import ENGLISH
from qr_env.shop.shop import PRODUCT_SCHEMA, PURCHASE_SCHEMA, QUERY_SCHEMA, Shop
from qr_env.synthetic.grammar import grammar
from qr_env.synthetic.queries import with_catalogue_queries
from qr_env.synthetic.typos import noisy_text, size_text, typo
from qr_env.synthetic.vocabulary import learn
from tests.helpers.fakes import tiny_shop

BRANDS = ("Acme", "Zenit", "Orion", "Lumo", "Kadar")
# (titles' words for the kind, descriptions' words for it)
KINDS = (
    ("notebook", "laptop"),
    ("memory module", "ram stick"),
    ("desk lamp", "reading light"),
    ("headphones", "headphones"),
    ("office chair", "swivel seat"),
)


def shop_of(titles: Sequence[str], **columns: Sequence[str]) -> Shop:
    """A shop with products alone."""
    ids = [f"p{row}" for row in range(len(titles))]
    return Shop(
        name="made",
        products=pa.table({"product_id": ids, "title": list(titles), **{k: list(v) for k, v in columns.items()}}),
        queries=pa.table({"query_id": pa.array([], pa.string())}),
        qrels=sp.csr_matrix((0, len(ids)), dtype=np.int8),
        purchases=pa.table({"query_id": pa.array([], pa.string())}),
    )


def bridging_shop(size: int = 500) -> Shop:
    """Titles and descriptions name a kind by different words; every description ends in the same boilerplate."""
    rows = [(KINDS[i % 5], BRANDS[i % 4 + i % 7 % 2], ("black", "white", "red")[i % 3], i) for i in range(size)]
    return shop_of(
        [f"{brand} X{i}0 {kind} {color} {2 ** (i % 4 + 5)} GB" for (kind, _), brand, color, i in rows],
        description=[f"{color} {other}, premium quality guarantee" for (_, other), _, color, _ in rows],
        brand=[brand for _, brand, _, _ in rows],
        color=[color for _, _, color, _ in rows],
    )


def split_digest(shop: Shop, split: str) -> str:
    """Digest of one split's queries and grades, in order."""
    rows = [query.row for query in shop.split(split)]
    part = shop.qrels[rows]
    texts = [(query.id, query.text, query.frequency) for query in shop.split(split)]
    return hashlib.sha256(repr((texts, part.toarray().tolist())).encode()).hexdigest()


def test_the_shops_own_queries_labels_and_purchases_are_unchanged() -> None:
    before = tiny_shop()
    after = with_catalogue_queries(before, n=100, seed=0)
    for split in ("train", "dev", "test"):
        own = replace(after, queries=after.queries.slice(0, 12), qrels=after.qrels[:12], slices={})
        assert split_digest(own, split) == split_digest(before, split)
    assert split_digest(after, "test") == split_digest(before, "test")
    assert after.purchases.slice(0, len(before.purchases)).equals(before.purchases)
    assert after.products_hash == before.products_hash
    assert after.oracle == before.oracle
    assert not after.qrels_complete


def test_slices_mark_the_new_queries_and_extend_the_old_ones() -> None:
    shop = with_catalogue_queries(tiny_shop(), n=50, seed=0)
    assert shop.slices["generated"].tolist() == [False] * 12 + [True] * (len(shop.queries) - 12)
    assert not shop.slices["color"][12:].any()
    assert (shop.slices["color"][:12] == tiny_shop().slices["color"]).all()


def test_texts_are_new_and_distinct_ignoring_case() -> None:
    base = tiny_shop()
    taken = base.queries.set_column(1, "query", pa.array([q.upper() for q in base.queries["query"].to_pylist()]))
    shop = with_catalogue_queries(replace(base, queries=taken), n=200, seed=1)
    texts = [text.casefold() for text in shop.queries["query"].to_pylist()]
    assert len(set(texts)) == len(texts) > 100
    ids = shop.queries["query_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    assert ids[12] == "gen-000000"


def test_a_made_query_is_no_other_spelling_of_a_typed_one():
    base = bridging_shop()
    made = with_catalogue_queries(base, n=50, seed=1).queries["query"].to_pylist()
    typed = "".join(chr(ord(letter) + 0xFEE0) if letter.isalpha() else letter for letter in made[0].upper())
    row = {"query_id": ["own"], "query": [typed], "frequency": [1.0], "split": ["train"]}
    own = pa.table(row, schema=QUERY_SCHEMA)
    shop = with_catalogue_queries(
        replace(base, queries=own, qrels=sp.csr_matrix((1, len(base.products)), dtype=np.int8)), n=50, seed=1
    )
    assert shop.queries["query"].to_pylist()[0] == typed
    assert made[0] not in shop.queries["query"].to_pylist()


def test_splits_frequencies_and_purchases() -> None:
    shop = with_catalogue_queries(bridging_shop(), n=400, seed=3)
    assert len(shop.queries) == 400
    assert [len(shop.split(name)) for name in ("train", "dev", "test")] == [360, 40, 0]
    frequency = np.sort(shop.queries["frequency"].to_numpy())[::-1]
    np.testing.assert_allclose(frequency, 1000 / np.arange(1, 401) ** 0.8, atol=1e-3)
    assert set(shop.purchases["product_id"].to_pylist()) <= set(shop.product_row)
    assert set(shop.purchases["query_id"].to_pylist()) == set(shop.queries["query_id"].to_pylist())
    assert set(shop.purchases["source"].to_pylist()) == {"search", "outside"}


def test_purchased_products_are_exact() -> None:
    shop = with_catalogue_queries(bridging_shop(), n=400, seed=3)
    query_row = {query.id: query.row for query in shop.all_queries}
    queries = [query_row[name] for name in shop.purchases["query_id"].to_pylist()]
    products = [[shop.product_row[name]] for name in shop.purchases["product_id"].to_pylist()]
    assert (shop.levels(queries, np.array(products, np.int32)) == EXACT).all()


def test_a_clean_querys_words_are_in_its_exact_products() -> None:
    shop = with_catalogue_queries(bridging_shop(), n=300, seed=5)
    vocabulary = {"notebook", "lamp", "headphon", "chair", "modul", "desk", "offic", "memori", "black", "red", "white"}
    columns = [pa.compute.utf8_lower(shop.products[name]).to_pylist() for name in ("title", "description")]
    checked = 0
    for query in shop.all_queries:
        stems = set(ENGLISH.terms(query.text))
        if stems <= vocabulary:
            for row in shop.qrels[query.row].indices:
                assert stems <= set(ENGLISH.terms(columns[0][row] + " " + columns[1][row])), query.text
                checked += 1
    assert checked > 100


def test_synonyms_are_learned_from_descriptions() -> None:
    shop = bridging_shop()
    assert learn(shop.products, grammar("en")).synonyms["notebook"] == ("laptop",)
    more = with_catalogue_queries(shop, n=500, seed=0)
    found = {query.text: query.row for query in more.all_queries if "laptop" in query.text.split()}
    assert len(found) > 3
    exact = [more.titles[row] for name, at in found.items() for row in more.qrels[at].indices]
    assert all("notebook" in title for title in exact)
    assert len({more.qrels[at].nnz for at in found.values()}) > 1  # narrowed queries have fewer
    assert more.qrels[found["laptop"]].nnz == 100


def test_no_query_has_boilerplate_words() -> None:
    texts = " ".join(with_catalogue_queries(bridging_shop(), n=500, seed=0).queries["query"].to_pylist()).split()
    assert not {"premium", "quality", "guarantee", "x"} & set(texts)
    assert not any(word.startswith("x1") for word in texts)


def test_same_seed_same_shop_in_another_process() -> None:
    code = (
        "from tests.qr_env.synthetic.test_queries import bridging_shop, with_catalogue_queries as make;"
        "print(make(bridging_shop(200), 200, 7).hash)"
    )
    # Another process has another hash seed, so nothing may depend on the order of a set.
    other_process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert with_catalogue_queries(bridging_shop(200), 200, 7).hash == other_process
    assert with_catalogue_queries(bridging_shop(200), 200, 8).hash != other_process


def test_titles_alone_and_twenty_products_are_enough(caplog: pytest.LogCaptureFixture) -> None:
    titles = [f"{color} {kind}" for kind, _ in KINDS for color in ("plain", "round", "soft", "tall")]
    shop = with_catalogue_queries(shop_of(titles), n=10_000, seed=0)
    assert 100 < len(shop.queries) <= 400
    assert "too small for 10,000 queries" in caplog.text
    assert any(query.text == "office chair" for query in shop.all_queries)


def test_every_query_has_an_exact_product_in_any_script() -> None:
    titles = ["Single-use battery, lithium-ion", "无线鼠标 黑色", "Беспроводная мышь", "men's clip-on café lamp"] * 5
    shop = with_catalogue_queries(shop_of(titles, description=["long-life primary cell"] * 20), n=200, seed=0)
    assert len(shop.queries) > 20
    assert (np.diff(shop.qrels.indptr) > 0).all()


@pytest.mark.parametrize("titles", [["12345", "!!! 99 GB", "black"], []])
def test_a_shop_without_usable_words_is_a_clear_error(titles: list[str]) -> None:
    with pytest.raises(ConfigError, match="queries"):
        with_catalogue_queries(shop_of(titles), n=10, seed=0)


def test_n_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="n=0"):
        with_catalogue_queries(tiny_shop(), n=0, seed=0)


def test_phrases_end_at_numbers_and_omit_words_after_a_preposition() -> None:
    assert grammar("en").phrases('Magnetic privacy filter for laptops 15.6" (16:9), black') == [
        ["magnetic", "privacy", "filter"],
        ["black"],
    ]


def test_noise_changes_the_text_and_keeps_first_letters() -> None:
    rng = random.Random(0)
    known = {"head", "phones", "usb", "memory", "stick"}
    texts = {noisy_text(["usb", "headphones"], rng, known, ENGLISH.language) for _ in range(300)}
    assert {"usb head phones", "usb headphone"} <= texts
    assert "usb headphones" not in texts
    assert all(typo("keyboard", rng)[0] == "k" for _ in range(100))
    sizes = {noisy_text([size_text("500", "gb", ENGLISH.language)], rng, known, ENGLISH.language) for _ in range(50)}
    assert {"500gb", "0.5 tb"} <= sizes


def test_speed_is_printed() -> None:
    shop = bridging_shop(20_000)
    start = time.perf_counter()
    made = with_catalogue_queries(shop, n=2_000, seed=0)
    print(f"{len(made.queries):,} queries from {len(shop.products):,} products: {time.perf_counter() - start:.1f} s")
    assert len(made.queries) > 500
    assert made.products.schema.equals(PRODUCT_SCHEMA) and made.queries.schema.equals(QUERY_SCHEMA)
    assert made.purchases.schema.equals(PURCHASE_SCHEMA)
    assert np.diff(made.qrels.indptr).max() <= 500
