"""Feedback of served rewrites: rates by probability and rank; held-out queries are not read."""

from __future__ import annotations

import numpy as np
import pytest

from judges.shoppers.click_models import PositionBased
from judges.shoppers.feedback import (
    CLICK,
    PRIOR,
    product_feedback,
    read_feedback,
    with_feedback,
    without_purchases,
)
from qr_env.common.errors import DataError
from qr_env.traffic.ubi import ServedQuery, ShopperEvent, UbiLog, event_line, query_line
from tests.helpers.fakes import tiny_shop

SHOP = without_purchases(tiny_shop())
SHOWN = ("p00", "p10", "p20")


def a_log(times: int = 20, propensity: float = 1.0) -> UbiLog:
    """The query couch shows p00, p10, p20; p10 is always bought, p20 clicked once. And a test query, and an unknown."""
    queries = [
        ServedQuery(f"q{at}", "COUCH", f"s{at}", propensity=propensity, product_ids=SHOWN) for at in range(times)
    ]
    queries += [ServedQuery("t", "running shoes", product_ids=SHOWN), ServedQuery("u", "zzz", product_ids=SHOWN)]
    events = [ShopperEvent(f"q{at}", "purchase", "p10", 2) for at in range(times)]
    return UbiLog(queries, [*events, ShopperEvent("q0", "click", "p20", 3), ShopperEvent("t", "purchase", "p00", 1)])


def test_what_was_bought_after_a_train_query_counts_and_nothing_else() -> None:
    feedback = product_feedback([a_log()], SHOP)
    assert (feedback.searches, feedback.held_out, feedback.unknown) == (20, 1, 1)
    query, product = feedback.query_rows[0], feedback.product_rows[0]
    assert (SHOP.all_queries[query].text, product, len(feedback.rates)) == ("couch", 10, 1)
    theta = PositionBased().by_rank(3)
    mean = (20 + CLICK) / (20 * theta.sum())
    assert feedback.mean_rate == pytest.approx(mean)
    assert feedback.rates[0] == pytest.approx((20 + PRIOR * mean) / (20 * theta[1] + PRIOR))


def test_a_rewrite_that_was_served_rarely_counts_more() -> None:
    """p10 at rank 1 in a list served with probability .1, p00 at rank 1 in one with .9; each is bought every time."""
    queries = [ServedQuery(f"a{at}", "couch", propensity=0.9, product_ids=("p00", "p20")) for at in range(9)]
    queries += [ServedQuery("b", "couch", propensity=0.1, product_ids=("p10", "p20"))]
    queries += [ServedQuery(f"c{at}", "fridge", propensity=0.9, product_ids=SHOWN) for at in range(60)]
    events = [ShopperEvent(f"a{at}", "purchase", "p00") for at in range(9)] + [ShopperEvent("b", "purchase", "p10")]
    weighed = product_feedback([UbiLog(queries, events)], SHOP)
    plain = [ServedQuery(one.query_id, one.query, product_ids=one.product_ids) for one in queries]
    unweighed = product_feedback([UbiLog(plain, events)], SHOP)
    rate = {
        name: dict(zip(found.product_rows, found.rates, strict=True))
        for name, found in (("weighed", weighed), ("plain", unweighed))
    }
    assert rate["weighed"][10] / rate["weighed"][0] > rate["plain"].get(10, 0.0) / rate["plain"][0]


def test_the_shop_learns_purchases_once_and_its_hash_changes() -> None:
    feedback = product_feedback([a_log()], SHOP)
    learned = with_feedback(SHOP, feedback)
    query_N, product_N = learned.purchase_rows(split="train")
    assert list(zip(query_N.tolist(), product_N.tolist(), strict=True)) == [(feedback.query_rows[0], 10)]
    assert learned.hash != SHOP.hash and not len(learned.purchase_rows(split="test")[0])
    np.testing.assert_array_equal(with_feedback(learned, feedback).purchase_rows()[1], product_N)


def test_a_log_of_another_shop_is_refused_and_one_without_exploration_is_said(tmp_path, capsys) -> None:
    log = a_log()
    (tmp_path / "ubi_queries.ndjson").write_text("".join(query_line(one) + "\n" for one in log.queries))
    (tmp_path / "ubi_events.ndjson").write_text("".join(event_line(one) + "\n" for one in log.events))
    assert len(read_feedback([tmp_path], SHOP).rates) == 1
    assert "every logged probability is 1" in capsys.readouterr().err
    (tmp_path / "ubi_queries.ndjson").write_text(query_line(log.queries[-1]) + "\n")
    with pytest.raises(DataError, match="none of its 1 searches is a train query"):
        read_feedback([tmp_path], SHOP)
