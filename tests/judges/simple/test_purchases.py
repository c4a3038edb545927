"""The purchases judge: the nearest product that was bought after the same query."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from judges.factory import PURCHASES_WEIGHT, JudgeOptions, open_judge
from judges.simple.blend import BlendJudge
from judges.simple.embedding import EmbeddingJudge
from judges.simple.purchases import PurchasesJudge
from qr_env.common.errors import JudgeError
from qr_env.common.types import EXACT, IRRELEVANT
from qr_env.shop.shop import Shop
from tests.helpers.fakes import HashEncoder, tiny_shop

SHOP = tiny_shop()
ROWS = np.arange(30, dtype=np.int32)


def without_purchases() -> Shop:
    return Shop("unsold", SHOP.products, SHOP.queries, SHOP.qrels, SHOP.purchases[:0])


def judge() -> PurchasesJudge:
    return PurchasesJudge(SHOP, EmbeddingJudge(SHOP, HashEncoder()))


def test_the_score_is_the_cosine_with_the_nearest_other_product_that_was_bought() -> None:
    asked = [*SHOP.split("train"), *SHOP.split("dev")]
    vectors = EmbeddingJudge(SHOP, HashEncoder()).product_vectors(ROWS)
    scores = judge().score(asked, np.tile(ROWS, (len(asked), 1)))
    query_N, product_N = SHOP.purchase_rows()
    for query, found in zip(asked, scores, strict=True):
        bought = product_N[query_N == query.row].tolist()
        for row in ROWS.tolist():
            others = [float(vectors[row] @ vectors[other]) for other in bought if other != row]
            np.testing.assert_allclose(found[row], max(others, default=np.nan), atol=1e-6)


def test_a_word_that_no_title_has_is_graded_by_what_was_bought_after_it() -> None:
    couch = next(query for query in SHOP.all_queries if query.text == "couch")
    grades = judge().grade([couch], ROWS[None])
    sofas = np.array([title.startswith("Lindholm sofa") for title in SHOP.products["title"].to_pylist()])
    gain = grades.gain_NK[0]
    assert np.nanmin(gain[sofas]) > np.nanmax(gain[~sofas])


def test_nothing_is_said_of_held_out_queries_free_texts_padding_and_a_purchase_alone() -> None:
    held_out, free = SHOP.split("test")[0], replace(SHOP.split("train")[0], row=-1)
    assert np.isnan(judge().grade([held_out, free], np.tile(ROWS, (2, 1))).probs_NK4).all()
    assert np.isnan(judge().grade(SHOP.split("train")[:1], np.array([[-1, 0]], np.int32)).probs_NK4[0, 0]).all()
    alone = Shop("alone", SHOP.products, SHOP.queries, SHOP.qrels, SHOP.purchases[:1])
    query_N, product_N = alone.purchase_rows(split="train")
    asked = [alone.all_queries[int(query_N[0])]]
    scores = PurchasesJudge(alone, EmbeddingJudge(alone, HashEncoder())).score(asked, ROWS[None])[0]
    assert np.flatnonzero(np.isnan(scores)).tolist() == product_N.tolist()


def test_moved_to_another_shop_it_keeps_its_thresholds_and_reads_that_shops_purchases() -> None:
    moved = judge().for_shop(without_purchases())
    assert moved.thresholds == judge().thresholds
    assert np.isnan(moved.score(SHOP.split("train")[:1], ROWS[None])).all()


def test_blend_holds_it_where_the_shop_has_purchases_and_no_weights_are_named(own_cache) -> None:
    options = JudgeOptions(encoder=HashEncoder())
    names = {}
    for shop, spec in ((SHOP, "blend"), (SHOP, "blend:1,1"), (without_purchases(), "blend")):
        blend = open_judge(spec, shop, options)
        assert isinstance(blend, BlendJudge)
        names[shop.name, spec] = {member.judge.name: member.weight for member in blend.members}
    plain = {"embedding": 1.0, "coverage": 1.0}
    assert names == {
        ("tiny", "blend"): plain | {"purchases": PURCHASES_WEIGHT},
        ("tiny", "blend:1,1"): plain,
        ("unsold", "blend"): plain,
    }


def test_blend_orders_products_as_people_do_better_with_purchases(own_cache) -> None:
    options, train = JudgeOptions(encoder=HashEncoder()), SHOP.split("train")
    rows = np.tile(ROWS, (len(train), 1))
    levels = np.stack([SHOP.qrels[query.row].toarray()[0] - 1 for query in train])
    share = {}
    for spec in ("blend", "blend:1,1"):
        gain = open_judge(spec, SHOP, options).grade(train, rows).gain_NK
        above = [
            one[level == EXACT][:, None] > one[level == IRRELEVANT] for one, level in zip(gain, levels, strict=True)
        ]
        share[spec] = np.concatenate([part.ravel() for part in above]).mean()
    assert share["blend"] > share["blend:1,1"]


def test_a_shop_without_purchases_is_refused() -> None:
    with pytest.raises(JudgeError, match=r"no purchases for train queries: add purchases\.csv"):
        open_judge("purchases", without_purchases(), JudgeOptions(encoder=HashEncoder()))
