"""The query graph: equal to slow counts, bounded, of the train split only; and the rewrites from it."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from agents.examples.graph_pairs import GraphConfig, graph_pairs
from agents.query_log import graph
from agents.query_log.graph import capped, default_min_shared, most_similar, query_products
from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT
from qr_env.synthetic.queries import with_catalogue_queries
from runs.bench.pairs import generated_shop
from tests.helpers.fakes import tiny_shop


def random_graph(rows=60, columns=40, seed=0):
    generator = np.random.default_rng(seed)
    matrix = sp.random_array((rows, columns), density=0.15, rng=generator, dtype=np.float32, format="csr")
    matrix.data = generator.choice(np.float32([0.1, 1.0]), size=matrix.nnz)
    return sp.csr_matrix(matrix)


def slow_pairs(gains, min_shared, min_similarity, most):
    dense = gains.toarray().astype(np.float64)
    found = []
    for a, own in enumerate(dense):
        others = []
        for b, other in enumerate(dense):
            shared = int(((own > 0) & (other > 0)).sum())
            alike = own @ other / max(np.linalg.norm(own) * np.linalg.norm(other), 1e-12)
            if a != b and shared >= min_shared and alike >= min_similarity:
                others.append((-round(alike, 4), b, shared))
        found += [(a, b, shared) for _, b, shared in sorted(others)[:most]]
    return found


@pytest.mark.parametrize("block", [1, 200, 1 << 22])
def test_most_similar_equals_a_slow_count_for_any_block_size(block, monkeypatch):
    monkeypatch.setattr(graph, "BLOCK_TERMS", block)
    gains = random_graph()
    pairs, counts = most_similar(gains, 100, 2, 0.12)
    found = sorted(zip(pairs.query_N.tolist(), pairs.other_N.tolist(), pairs.shared_N.tolist(), strict=True))
    assert found == sorted(slow_pairs(gains, 2, 0.12, 100))
    assert counts["share a product"] - counts["share too few"] - counts["too dissimilar"] == len(pairs)


def test_the_most_similar_come_first_and_the_others_are_counted():
    gains = random_graph(seed=1)
    every, _ = most_similar(gains, 100)
    few, counts = most_similar(gains, 3)
    assert counts["beyond the limit"] == len(every) - len(few) > 0
    for row in range(gains.shape[0]):
        alike = few.similarity_N[few.query_N == row]
        assert (np.diff(alike) <= 1e-5).all()
        assert alike == pytest.approx(np.sort(every.similarity_N[every.query_N == row])[::-1][:3], abs=1e-5)


def test_a_popular_product_keeps_its_most_specific_queries():
    gains = sp.csr_matrix(np.array([[1, 1, 1], [1, 0, 0], [0.1, 0, 0], [1, 1, 0]], np.float32))
    cut, counts = capped(gains, 2)
    assert cut.toarray()[:, 0].tolist() == [0, 1, 0, 1]  # Exact before Substitute, then the fewest products
    assert (cut != gains).nnz == counts["edges cut from them"] == 2
    assert counts["products with too many queries"] == 1
    assert capped(gains, 4)[0] is gains


def test_made_up_grades_are_no_labels_and_edges_of_made_up_queries_are_counted():
    typed = tiny_shop()
    unlabelled = replace(typed, qrels=sp.csr_matrix(typed.qrels.shape, dtype=np.int8), qrels_complete=False)
    shop = with_catalogue_queries(unlabelled, 60, seed=0)
    train = shop.split("train")
    by_auto, by_purchases = query_products(shop, train), query_products(shop, train, "purchases")
    assert (by_auto != by_purchases).nnz == 0 < by_auto.nnz < query_products(shop, train, "labels").nnz
    _, counts = graph_pairs(shop, train)
    made_up = counts["edges of queries made from the catalogue"]
    assert 0 < made_up < counts["edges"]
    assert "edges of queries made from the catalogue" not in graph_pairs(typed, typed.split("train"))[1]


def test_the_graph_is_of_exact_and_substitute_labels_or_of_purchases():
    shop = tiny_shop()
    train = shop.split("train")
    labels, bought = query_products(shop, train), query_products(shop, train, "purchases")
    blue = next(row for row, query in enumerate(train) if query.text == "blue couch")
    assert sorted(np.unique(labels.data).tolist()) == pytest.approx([0.1, 1.0])
    assert (labels[blue] == 1).sum() == (shop.qrels[train[blue].row] == EXACT + 1).sum() == 1
    assert set(np.unique(bought.data)) == {1.0}
    assert bought.nnz < labels.nnz
    with pytest.raises(ConfigError, match="choose auto"):
        query_products(shop, train, "clicks")


def test_the_default_number_of_shared_products_depends_on_label_density():
    assert default_min_shared(query_products(tiny_shop(), tiny_shop().split("train"))) == 5
    assert default_min_shared(query_products(tiny_shop(), tiny_shop().split("train"), "purchases")) == 1


def test_couch_gets_sofa_but_no_color_and_no_typo():
    shop = tiny_shop()
    examples, counts = graph_pairs(shop, shop.split("train"), GraphConfig(max_rewrites=5))
    found = {(example.query, example.response) for example in examples}
    assert ("couch", "sofa") in found and ("blue couch", "sofa") in found
    assert ("runing shoos", "shoes") not in found  # no train query has the word; "trainers" is in no title
    words = {word for _, text in found for word in text.split()}
    assert words == {"sofa"}
    assert counts["kept"] == len(examples) == len(found)


def test_a_whole_rewrite_has_only_words_of_its_products_titles():
    shop = tiny_shop()
    examples, _ = graph_pairs(shop, shop.split("train"), GraphConfig(max_rewrites=5), combine="replace")
    assert {example.response for example in examples if example.query == "couch"} == {"sofa"}


def test_without_min_support_every_word_is_allowed_in_both_directions():
    shop = tiny_shop()
    examples, _ = graph_pairs(shop, shop.split("train"), GraphConfig(max_rewrites=9, min_support=0), combine="replace")
    found = {(example.query, example.response) for example in examples}
    assert {("couch", "sofa"), ("sofa", "couch"), ("trainers", "runing shoos")} <= found


def test_held_out_queries_are_not_read():
    shop = tiny_shop()
    train = shop.split("train")
    spoilt = shop.qrels.tolil()
    for query in [*shop.split("dev"), *shop.split("test")]:
        spoilt[query.row] = 4
    other = type(shop)(**{**vars(tiny_shop()), "qrels": spoilt.tocsr()})
    # As texts: unknown figures are NaN, and from Python 3.13 on a dataclass with NaN does not equal itself.
    assert repr(graph_pairs(shop, train)) == repr(graph_pairs(other, train))


def test_confirm_decides_and_is_counted():
    shop = tiny_shop()
    asked = []

    def confirm(queries, rewrites):
        asked.extend((query.text, rewrite) for query, rewrite in zip(queries, rewrites, strict=True))
        return np.array([query.text == "couch" for query in queries])

    examples, counts = graph_pairs(shop, shop.split("train"), confirm=confirm)
    assert {example.query for example in examples} == {"couch"}
    assert counts["not confirmed"] == len(asked) - len(examples) > 0


def test_no_queries_and_no_edges_give_no_pairs():
    shop = tiny_shop()
    assert graph_pairs(shop, [])[0] == []
    assert graph_pairs(shop, shop.split("train"), source="purchases", config=GraphConfig(min_shared=99))[0] == []


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="max_rewrites=0"):
        GraphConfig(max_rewrites=0)


def test_five_thousand_queries_and_a_popular_product_take_seconds():
    shop = generated_shop(queries=5_000, labels=100_000, products=20_000, zipf=1.0, seed=0)
    config = GraphConfig(min_support=0, max_queries=200)
    examples, counts = graph_pairs(shop, shop.split("train"), config)
    assert counts["edges cut from them"] > 0 and counts["products with too many queries"] > 0
    assert len(examples) > 1_000
    assert repr((examples, counts)) == repr(graph_pairs(shop, shop.split("train"), config))
