"""Sessions: common random numbers, baskets, return visits; a better search sells more; the log is UBI."""

from __future__ import annotations

import numpy as np
import pytest

from judges.shoppers.click_log import read_click_log
from judges.shoppers.sessions.metrics import COLUMNS, METRICS, commerce, compare_commerce
from judges.shoppers.sessions.needs import Needs
from judges.shoppers.sessions.settings import SessionSettings
from judges.shoppers.sessions.simulator import BOUGHT, SearchAnswer, SessionSimulator, UserDraws
from judges.shoppers.sessions.ubi import write_ubi
from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError
from qr_env.traffic.ubi import read_ubi
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()
NEEDS = Needs(SHOP, SHOP.all_queries)


class Lists:
    """Shows the relevant products of a query, or products by row."""

    def __init__(self, relevant: bool) -> None:
        self.name = "relevant" if relevant else "any"
        self._relevant, self.told = relevant, 0

    def answer(self, requests, k):
        """The first k."""
        found = []
        for one in requests:
            order = np.argsort(-SHOP.qrels[one.query.row].toarray()[0], kind="stable")
            rows = order if self._relevant else np.arange(20, 30)
            found.append(SearchAnswer(rows[:k].astype(np.int32)))
        return found

    def shown(self, visits):
        """Count the searches."""
        self.told += len(visits)


def simulator(**settings) -> SessionSimulator:
    return SessionSimulator(SHOP, LabelsJudge(SHOP), NEEDS, SessionSettings(**settings))


@pytest.fixture(scope="module")
def runs():
    good, poor = Lists(True), Lists(False)
    return {one.name: simulator().run(one, users=300, days=10, seed=3) for one in (good, poor)}


def test_the_same_seed_gives_the_same_visits_and_the_searcher_hears_of_all(runs) -> None:
    searcher = Lists(True)
    again = simulator().run(searcher, users=300, days=10, seed=3)
    np.testing.assert_array_equal(again.depth_NK, runs["relevant"].depth_NK)
    assert searcher.told == len(again)
    other = simulator().run(Lists(True), users=300, days=10, seed=4)
    assert len(other) != len(again) or not np.array_equal(other.depth_NK, again.depth_NK)


def test_two_searchers_meet_the_same_users_with_the_same_first_needs(runs) -> None:
    first = {}
    for name, visits in runs.items():
        today = [one for one in visits.requests if one.time < 86_400]
        first[name] = {one.user: (one.time, one.query.id) for one in reversed(today)}
    assert len(first["any"]) > 30 and first["relevant"] == first["any"]


def test_better_lists_sell_more_satisfy_more_and_bring_users_back(runs) -> None:
    good, poor = (commerce(runs[name]).figures() for name in ("relevant", "any"))
    for name in ("GMV", "transactions", "UCVR", "conversion a session", "satisfied searches"):
        assert good[name] > 1.3 * poor[name], name
    assert good["repeat visits"] > poor["repeat visits"]
    compared = compare_commerce({name: commerce(visits) for name, visits in reversed(runs.items())})
    change = compared["relevant"]["transactions"]
    assert 0 < change["change_low"] < change["change"] < change["change_high"]
    assert compared["any"]["transactions"]["change"] == 0


def test_sums_a_user_equal_a_loop(runs) -> None:
    visits = runs["relevant"]
    sums = dict(zip(COLUMNS, commerce(visits).sums_NF.T, strict=True))
    for user in range(0, 300, 37):
        mine = [at for at, one in enumerate(visits.requests) if one.user == user]
        sessions = {visits.requests[at].session for at in mine}
        paid = {visits.requests[at].session for at in mine if (visits.depth_NK[at] == BOUGHT).any()}
        revenue = sum(
            int(visits.pieces_NK[at, rank]) * visits.price_NK[at, rank]
            for at in mine
            for rank in range(visits.depth_NK.shape[1])
            if visits.pieces_NK[at, rank]
        )
        assert (sums["sessions"][user], sums["transactions"][user]) == (len(sessions), len(paid))
        assert sums["revenue"][user] == pytest.approx(revenue)
        assert sums["repeated"][user] == (len(sessions) > 1)
    assert set(METRICS) >= {"GMV", "transactions", "unique visitors", "UCVR", "repeat visits"}


def test_a_session_buys_what_it_put_into_the_cart_and_unknown_prices_are_counted() -> None:
    visits = simulator(more_pieces=0.5).run(Lists(True), users=300, days=5, seed=0)
    bought = visits.depth_NK == BOUGHT
    assert (visits.pieces_NK[bought] >= 1).all() and not visits.pieces_NK[~bought].any()
    assert visits.pieces_NK.max() > 1
    unpriced = visits.price_NK.copy()
    unpriced[:] = np.nan
    table = commerce(type(visits)(visits.requests, visits.answers, visits.depth_NK, visits.pieces_NK, unpriced, 300))
    assert table.figures()["GMV"] == 0 and table.figures()["unpriced"] == 1


def test_the_log_is_read_back_as_ubi_and_as_a_click_log(runs, tmp_path) -> None:
    visits = runs["relevant"]
    write_ubi(visits, SHOP, tmp_path, start=1_767_225_600.0)
    log = read_ubi(tmp_path)
    assert len(log.queries) == len(visits) and log.queries[0].product_ids
    purchases = [event for event in log.events if event.action == "purchase"]
    assert len(purchases) == int((visits.depth_NK == BOUGHT).sum())
    assert sum(event.quantity for event in purchases) == int(visits.pieces_NK.sum())
    sold = sum(event.price * event.quantity for event in purchases)
    assert sold == pytest.approx(commerce(visits).figures()["GMV"])
    rows = ["session,query,product_id,position,event"]
    actions = {(event.query_id, event.position): event.action for event in log.events}
    for one in log.queries:
        for rank, product in enumerate(one.product_ids, 1):
            rows.append(f"{one.query_id},{one.query},{product},{rank},{actions.get((one.query_id, rank), 'none')}")
    (tmp_path / "clicks.csv").write_text("\n".join(rows) + "\n")
    assert len(read_click_log(tmp_path / "clicks.csv", SHOP).queries) == len(visits)


def test_draws_of_a_user_do_not_depend_on_who_else_is_there() -> None:
    some = UserDraws([1, 2], 50, np.array([3, 7])).random((2, 4))
    more = UserDraws([1, 2], 50, np.array([0, 3, 7, 9])).random((4, 4))
    np.testing.assert_array_equal(some, more[1:3])


def test_needs_know_other_words_and_refuse_a_split_without_queries() -> None:
    couch = next(at for at, query in enumerate(NEEDS.queries) if query.text == "couch")
    drawn = {int(NEEDS.other_words(np.array([couch]), np.array([u]))[0]) for u in np.linspace(0, 0.99, 20)}
    assert {NEEDS.queries[at].text for at in drawn} == {"sofa", "settee"}
    with pytest.raises(ConfigError, match="no query that shoppers could type"):
        Needs(SHOP, [])
    with pytest.raises(ConfigError, match="another_need=2"):
        SessionSettings(another_need=2)
