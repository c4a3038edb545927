"""The generated shop: sizes, relevance, and difficulty for the project's BM25 engine.

pytest tests/qr_env/shop/generated/test_generate.py
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from qr_env.common.errors import ConfigError, DataError
from qr_env.common.types import EXACT, GAINS, SUBSTITUTE
from qr_env.language.tokenize import ENGLISH
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.combine import search
from qr_env.reward.metrics import ideal_dcg, ndcg
from qr_env.shop.generated.generate import BENCHMARK, BENCHMARK_HASH, N_PRODUCTS, N_QUERIES, generate
from qr_env.shop.generated.sizes import Size, merchant_size, shopper_sizes
from qr_env.shop.generated.vocabulary import load_vocabulary
from qr_env.shop.load import load_shop
from qr_env.shop.shop import SPLITS, Shop

SLICES = {
    "held-out words",
    "typo",
    "synonym",
    "unit",
    "colour/material",
    "purpose",
    "brand misspelt",
    "negation",
    "joined/split",
    "broad",
    "plain",
    "unknown word",
    "no full match",
}


@dataclass(frozen=True)
class GeneratedShop:
    shop: Shop
    split_P: npt.NDArray[np.str_]
    seconds: float  # CPU time


@pytest.fixture(scope="module")
def generated() -> GeneratedShop:
    load_vocabulary()
    start = time.process_time()
    shop = generate(seed=0)
    return GeneratedShop(shop, np.array(shop.queries["split"].to_pylist()), time.process_time() - start)


@pytest.fixture(scope="module")
def small() -> Shop:
    return generate(seed=3, n_products=3_000, n_queries=800)


def test_the_benchmark_is_pinned(generated: GeneratedShop) -> None:
    """A change of the generator that changes the shop must raise the version in `BENCHMARK`, then this hash."""
    shop = generated.shop
    assert (BENCHMARK, BENCHMARK_HASH[:12]) == ("generated-v1", "df8482604fc7")
    assert shop.hash == BENCHMARK_HASH and shop.name == BENCHMARK
    counts = {split: int((generated.split_P == split).sum()) for split in SPLITS}
    assert counts == {"train": 10_360, "dev": 1_297, "test": 1_343}
    assert (len(shop.products), len(shop.queries)) == (N_PRODUCTS, N_QUERIES) == (24_000, 13_000)


def test_the_benchmark_has_two_names(generated: GeneratedShop, small: Shop) -> None:
    shop = load_shop(BENCHMARK)
    assert (shop.name, shop.hash) == (generated.shop.name, generated.shop.hash)
    assert small.name == "generated-v1-seed3-3000x800"


def test_sizes(generated: GeneratedShop) -> None:
    vocabulary = load_vocabulary()
    assert len(vocabulary.types) >= 80
    assert len({one.department for one in vocabulary.types}) >= 8
    assert len(generated.shop.products) >= 20_000
    assert len(generated.shop.queries) >= 12_000
    assert generated.seconds <= 20  # about 5 on an idle core; the machines that run tests are busy


def test_columns_are_filled(generated: GeneratedShop) -> None:
    products = generated.shop.products.to_pydict()
    assert len(set(products["product_id"])) == len(products["product_id"])
    assert all(products["title"]) and all(products["description"]) and all(products["brand"])
    assert all(products["category"]) and all(products["attributes"])
    assert min(products["price"]) > 0 and not np.isnan(products["price"]).any()
    assert len(set(products["title"])) > 0.85 * len(products["title"])
    accessories = sum(name.startswith("Accessories for") for name in products["category"])
    assert accessories / len(products["category"]) == pytest.approx(0.12, abs=0.01)


def test_query_texts_differ_and_have_an_oracle(generated: GeneratedShop) -> None:
    texts = generated.shop.queries["query"].to_pylist()
    assert len(set(texts)) == len(texts)
    assert all(text == " ".join(text.split()) for text in texts)
    assert set(generated.shop.oracle) == set(generated.shop.queries["query_id"].to_pylist())
    assert all(generated.shop.oracle.values())
    assert set(generated.shop.slices) == SLICES


def test_the_seed_determines_every_byte(small: Shop) -> None:
    again = generate(seed=3, n_products=3_000, n_queries=800)
    other = generate(seed=4, n_products=3_000, n_queries=800)
    assert again.hash == small.hash and again.oracle == small.oracle
    assert all(np.array_equal(again.slices[name], mask) for name, mask in small.slices.items())
    assert again.purchases.equals(small.purchases)
    assert other.hash != small.hash and other.products_hash != small.products_hash


@pytest.mark.parametrize("settings", [{"seed": -1}, {"n_products": 100}, {"n_queries": 0}, {"n_queries": 10**9}])
def test_invalid_settings_raise(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        generate(**settings)


def test_split_shares(generated: GeneratedShop) -> None:
    shares = {name: (generated.split_P == name).mean() for name in SPLITS}
    assert shares == pytest.approx({"train": 0.8, "dev": 0.1, "test": 0.1}, abs=0.015)


def test_only_test_queries_have_heldout_words(generated: GeneratedShop) -> None:
    heldout = load_vocabulary().heldout_terms
    assert len(heldout) > 200
    products = generated.shop.products
    columns = [products[name].to_pylist() for name in products.column_names if name not in ("product_id", "price")]
    catalogue_terms = {term for column in columns for text in set(column) for term in ENGLISH.terms(text)}
    assert heldout.isdisjoint(catalogue_terms)
    terms_P = [set(ENGLISH.terms(query.text)) for query in generated.shop.all_queries]
    elsewhere = set().union(
        *(terms for terms, split in zip(terms_P, generated.split_P, strict=True) if split != "test")
    )
    assert heldout.isdisjoint(elsewhere)
    heldout_P = generated.shop.slices["held-out words"]
    assert not heldout_P[generated.split_P != "test"].any()
    assert 0.09 <= heldout_P[generated.split_P == "test"].mean() <= 0.16
    unchanged_P = heldout_P & ~generated.shop.slices["typo"] & ~generated.shop.slices["joined/split"]
    assert all(not heldout.isdisjoint(terms_P[row]) for row in np.flatnonzero(unchanged_P))
    assert generated.shop.slices["unknown word"][unchanged_P].all()


def test_training_words_occur_often_in_training_queries(generated: GeneratedShop) -> None:
    vocabulary = load_vocabulary()
    texts = (query.text for query in generated.shop.split("train"))
    text = "\n".join(f" {text} " for text in texts)
    names = np.array([text.count(f" {name.lower()} ") for one in vocabulary.types for name in one.shopper])
    tables = (vocabulary.colors, vocabulary.materials)
    phrases = [name for table in tables for alias in table.values() for name in alias.shopper]
    aliases = np.array([text.count(f" {name.lower()} ") for name in phrases])
    # Whole and correctly spelt; another fifth of the occurrences has a typo or a wrong space.
    assert names.min() >= 3 and np.median(names) >= 10
    assert aliases.min() >= 3 and np.median(aliases) >= 15


def test_every_query_has_exact_products_and_levels_are_complete(generated: GeneratedShop) -> None:
    qrels = generated.shop.qrels
    assert generated.shop.qrels_complete
    exact_P = np.bincount(np.repeat(np.arange(qrels.shape[0]), np.diff(qrels.indptr))[qrels.data == EXACT + 1])
    assert len(exact_P) == qrels.shape[0] and exact_P.min() >= 3
    assert set(np.unique(qrels.data)) == {2, 3, 4}  # Irrelevant is what is not stored


def facts_of(shop: Shop, row: int) -> dict[str, str]:
    """A product's attributes as a mapping: name → value; brand and colour from their columns."""
    product = shop.product(row)
    facts = dict(part.split(": ", 1) for part in product.attributes.split(" | "))
    return {**facts, "brand": product.brand, "colour": product.color, "category": product.category}


def wanted_of(shop: Shop, oracle: str, category: str) -> dict[str, str]:
    """The intent of an oracle rewrite, parsed from its words with the vocabulary alone."""
    vocabulary = load_vocabulary()
    one = next(one for one in vocabulary.types if one.category == category and one.noun[0] in oracle)
    rest, wanted = f" {oracle.replace(one.noun[0], '')} ", {}
    sizes = [merchant_size(one.size.unit, value).lower() for value in one.size.values] if one.size else []
    label = one.size.label if one.size else ""
    groups = [("features", [feature.merchant for feature in one.features]), (label, sizes)]
    groups += [("material", list(one.materials)), ("colour", list(one.colors)), ("brand", list(one.brands))]
    for name, values in groups:
        for value in sorted(values, key=len, reverse=True):
            if f" {value.lower()} " in rest.lower():
                wanted[name] = value
                rest = rest.lower().replace(f" {value.lower()} ", " ")
                break
    return wanted


def is_met(name: str, value: str, facts: dict[str, str]) -> bool:
    actual = facts.get(name, "")
    return value in actual.split(", ") if name == "features" else value.lower() == actual.lower()


def test_relevance_follows_from_product_attributes(generated: GeneratedShop) -> None:
    """Parse intent and products from texts and apply the rule again, for 60 queries and all related products."""
    shop = generated.shop
    one_noun = {one.category for one in load_vocabulary().types if len(one.noun) == 1}
    categories = shop.products["category"].to_pylist()
    of_category: dict[str, list[int]] = {}
    for row, category in enumerate(categories):
        of_category.setdefault(category, []).append(row)
    counts = [one.category for one in load_vocabulary().types]
    checked = 0
    for row in np.random.default_rng(0).permutation(len(shop.queries)).tolist():
        levels = shop.qrels[row]
        category = categories[levels.indices[levels.data == EXACT + 1][0]]
        if category not in one_noun or counts.count(category) > 1 or shop.slices["negation"][row]:
            continue
        wanted = wanted_of(shop, shop.oracle[f"Q{row:05d}"], category)
        level_of = dict(zip(levels.indices.tolist(), (levels.data - 1).tolist(), strict=True))
        for product in of_category[category]:
            facts = facts_of(shop, product)
            broken = sum(not is_met(name, value, facts) for name, value in wanted.items())
            near = broken <= (2 if len(wanted) >= 3 else 1)
            assert level_of.get(product, 0) == (EXACT if broken == 0 else SUBSTITUTE if near else 0)
        checked += 1
        if checked == 60:
            break
    assert checked == 60


def test_complements_are_accessories_and_accessories_nothing_else(generated: GeneratedShop) -> None:
    shop = generated.shop
    accessory_N = np.array([name.startswith("Accessories for") for name in shop.products["category"].to_pylist()])
    assert accessory_N[shop.qrels.indices[shop.qrels.data == 2]].all()
    assert not accessory_N[shop.qrels.indices[shop.qrels.data > 2]].any()


def test_a_negation_excludes_what_it_names(generated: GeneratedShop) -> None:
    shop = generated.shop
    merchants = {feature.merchant for one in load_vocabulary().types for feature in one.features}
    rows = np.flatnonzero(shop.slices["negation"] & shop.slices["plain"])[:60].tolist()
    assert rows
    for row in rows:
        text = shop.queries["query"][row].as_py()
        refused = {
            one for one in merchants if re.search(rf"\b(without|no|with|any) {re.escape(one.lower())}( |$)", text)
        }
        levels = shop.qrels[row]
        features = {
            level: _features_of(shop, levels.indices[levels.data == level + 1]) for level in (SUBSTITUTE, EXACT)
        }
        assert refused and refused.isdisjoint(features[EXACT])
        assert not refused.isdisjoint(features[SUBSTITUTE])


def _features_of(shop: Shop, rows: npt.NDArray[np.int32]) -> set[str]:
    return {feature for row in rows.tolist() for feature in facts_of(shop, row).get("features", "").split(", ")}


@pytest.fixture(scope="module")
def scores(generated: GeneratedShop) -> dict[str, npt.NDArray[np.float64]]:
    """nDCG@10 of every query: raw, the oracle alone, and the original expanded by the oracle."""
    engine = BM25.build(generated.shop)
    queries = generated.shop.all_queries
    texts, oracle = [query.text for query in queries], [generated.shop.oracle[query.id] for query in queries]
    ideal_P, rows_P = ideal_dcg(generated.shop.qrels), np.arange(len(queries))
    found = {"raw": search(engine, texts, texts, k=10), "oracle": search(engine, texts, oracle, "replace", k=10)}
    found["expand"] = search(engine, texts, oracle, "expand", 2.0, k=10)
    levels = {name: np.maximum(generated.shop.levels(rows_P, hits.rows_NK), 0) for name, hits in found.items()}
    return {name: ndcg(GAINS[levels_PK], ideal_P) for name, levels_PK in levels.items()}


@pytest.mark.parametrize("split", SPLITS)
def test_hard_for_bm25_and_easy_for_the_oracle(
    generated: GeneratedShop, scores: dict[str, npt.NDArray[np.float64]], split: str
) -> None:
    of_split = generated.split_P == split
    raw, oracle, expand = (float(scores[name][of_split].mean()) for name in ("raw", "oracle", "expand"))
    assert 0.30 <= raw <= 0.50
    assert oracle >= 0.85
    assert expand >= 0.72


def test_unknown_words_are_as_frequent_as_in_a_real_shop(
    generated: GeneratedShop, scores: dict[str, npt.NDArray[np.float64]]
) -> None:
    slices = generated.shop.slices
    assert 0.20 <= slices["unknown word"].mean() <= 0.30
    # The test split has held-out words, yet about as many unknown ones as the other splits.
    assert slices["unknown word"][generated.split_P == "test"].mean() <= 0.32
    assert slices["no full match"].mean() >= 0.50
    assert (slices["unknown word"] <= slices["no full match"]).all()
    assert 0.35 <= slices["plain"].mean() <= 0.40
    assert scores["raw"][slices["plain"]].mean() >= 0.8  # no rewrite needed
    for name in SLICES - {"plain", "broad"}:
        assert slices[name].mean() >= 0.01
        assert scores["oracle"][slices[name]].mean() > scores["raw"][slices[name]].mean() + 0.3


def test_word_slices_agree_with_sets_of_terms(generated: GeneratedShop) -> None:
    """The two word slices against plain sets of terms, over 300 queries."""
    products = generated.shop.products
    columns = [products[name].to_pylist() for name in ("title", "brand", "category", "color", "attributes")]
    terms_N = [set(ENGLISH.terms(" ".join(values))) for values in zip(*columns, strict=True)]
    known = set().union(*terms_N)
    for query in generated.shop.all_queries[:300]:
        wanted = set(ENGLISH.terms(query.text))
        assert generated.shop.slices["unknown word"][query.row] == (not wanted <= known)
        assert generated.shop.slices["no full match"][query.row] == (not any(wanted <= terms for terms in terms_N))


def test_traffic(generated: GeneratedShop) -> None:
    frequency_P = generated.shop.queries["frequency"].to_numpy()
    assert frequency_P.min() >= 1 and (frequency_P == np.round(frequency_P)).all()
    ordered = np.sort(frequency_P)[::-1]
    assert ordered[:1300].sum() > 0.5 * ordered.sum()  # a tenth of the queries, half of the searches
    purchases = generated.shop.purchases.to_pydict()
    rows_P = np.array([int(name[1:]) for name in purchases["query_id"]])
    rows_N = np.array([generated.shop.product_row[name] for name in purchases["product_id"]], np.int32)
    count_P = np.bincount(rows_P, minlength=len(frequency_P))
    assert count_P.min() >= 1 and count_P.max() <= 10
    levels = generated.shop.levels(rows_P, rows_N[:, None])[:, 0]
    assert set(np.unique(levels)) == {SUBSTITUTE, EXACT}
    assert 0.90 <= (levels == EXACT).mean() <= 0.97
    assert np.mean(np.array(purchases["source"]) == "outside") == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize(
    ("unit", "value", "merchant", "shopper"),
    [("l", 1.7, "1.7 L", "1700ml"), ("inch", 27, "27-inch", "69cm"), ("kg", 10, "10 kg", "22 lb")],
)
def test_shoppers_write_sizes_in_other_forms(unit: str, value: float, merchant: str, shopper: str) -> None:
    assert merchant_size(unit, value) == merchant
    assert shopper in shopper_sizes(Size(unit, (value,), "size"), value)


def test_a_damaged_vocabulary_raises(tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text("colors: {}\nmaterials: {}\n")
    words = "noun: [bowl], shopper: [dish], purposes: [eat soup], category: Bowls"
    entry = f"{{id: bowl, {words}, price: [2, 9], colors: [pink]}}"
    (tmp_path / "one.yaml").write_text(f"department: Table\nbrands: [Abc]\ntypes:\n  - {entry}\n")
    with pytest.raises(DataError, match="unknown colour 'pink'"):
        load_vocabulary(tmp_path)
    (tmp_path / "one.yaml").write_text("department: [")
    with pytest.raises(DataError, match="not readable as YAML"):
        load_vocabulary(tmp_path)
