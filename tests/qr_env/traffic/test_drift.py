"""Drift events: their effect on traffic, wording and products is a pure function of the clock."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError, IndexMismatchError
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.language.tokenize import ENGLISH
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.live_catalogue import LiveRetriever
from qr_env.shop.generated.generate import generate
from qr_env.traffic.departments import departments, queries_naming
from qr_env.traffic.drift import BATCHES, Drift
from qr_env.traffic.drift_plan import PRESETS, Event, Plan, load_plan
from qr_env.traffic.drift_words import generated_words
from qr_env.traffic.stream import QueryStream
from tests.helpers.fakes import tiny_shop

SHOP = generate(seed=1, n_products=4_000, n_queries=3_000)
TINY = tiny_shop()
DEPARTMENTS = departments(SHOP)


def stream_of(plan: Plan, shop: Any = SHOP, **settings: Any) -> QueryStream:
    drift = Drift(shop, plan)
    return QueryStream(drift.queries, seed=0, drift=drift, **settings)


def share(stream: QueryStream, n: int, department: str) -> float:
    """Share of the next n queries, taken one by one, that belong to the department."""
    return sum(DEPARTMENTS[next(stream).row] == department for _ in range(n)) / n


def test_departments_are_those_of_bought_products() -> None:
    assert set(departments(TINY)) == {"furniture", "appliances", "sports"}
    assert departments(TINY)[:4].tolist() == ["furniture"] * 3 + ["appliances"]
    assert len(set(DEPARTMENTS)) == 12 and "" not in DEPARTMENTS
    assert queries_naming(TINY.all_queries, "Frosta", ENGLISH).tolist() == [
        query.id == "q07" for query in TINY.all_queries
    ]


def test_a_season_takes_its_share_and_ends() -> None:
    stream = stream_of(Plan((Event("season", 1_000, 1_000, 0.5, "Furniture"),)))
    usual, season, after = (share(stream, 1_000, "Furniture") for _ in range(3))
    assert season == pytest.approx(0.5 + 0.5 * usual, abs=0.06)
    assert after == pytest.approx(usual, abs=0.05)


def test_a_trend_raises_a_few_rare_queries() -> None:
    stream = stream_of(Plan((Event("trend", 500, 500, 0.4),)))
    quiet, trend, after = (Counter(next(stream).text for _ in range(500)) for _ in range(3))
    event = stream.drift.events(500)[0]  # type: ignore[union-attr]
    trending = event.what.split(" | ")
    assert len(trending) == 5
    counts = [sum(counter[text] for text in trending) for counter in (quiet, trend, after)]
    assert counts[0] <= 3 and 150 <= counts[1] <= 250 and counts[2] <= 3
    named = Drift(SHOP, Plan((Event("trend", 0, 10, 0.4, "bookcase"),)))
    shares_N = named.traffic(np.ones(len(named.queries)), 0)
    holds_N = queries_naming(named.queries, "bookcase", ENGLISH)
    assert shares_N[holds_N].sum() == pytest.approx(0.4 + 0.6 * holds_N.mean()) and shares_N.sum() == pytest.approx(1)


def test_a_new_brand_comes_with_products_and_queries() -> None:
    stream = stream_of(Plan((Event("brand", 2_000, 1_000, 0.3),)))
    drift = stream.drift
    assert drift is not None
    event = drift.events(2_000)[0]
    of_brand_C = np.array(SHOP.products["brand"].to_pylist()) == event.what
    assert of_brand_C.any() and not drift.on_sale(1_999)[of_brand_C].any() and drift.on_sale(2_000)[of_brand_C].all()
    assert drift.on_sale(0)[~of_brand_C].all()
    before, during = stream.take(1_000) + stream.take(1_000), [next(stream) for _ in range(1_000)]
    assert not queries_naming(before, event.what, ENGLISH).any(), "no query names a brand before its launch"
    assert queries_naming(during, event.what, ENGLISH).mean() == pytest.approx(0.3, abs=0.06)


def test_a_round_holds_all_queries_but_those_of_a_brand_not_launched() -> None:
    stream = stream_of(Plan((Event("brand", 10**9),)))
    brand = stream.drift.events(10**9)[0].what  # type: ignore[union-attr]
    waiting = int(queries_naming(stream.queries, brand, ENGLISH).sum())
    taken = stream.take(len(stream.queries))
    assert waiting and len({query.row for query in taken}) == len(stream.queries) - waiting


def test_a_burst_of_typos() -> None:
    stream = stream_of(Plan((Event("typos", 300, 300, 0.5),)))
    known = {query.id: query for query in stream.queries}
    for share_typed in (0.0, 0.5, 0.0):
        queries = [next(stream) for _ in range(300)]
        assert sum(query.text != known[query.id].text for query in queries) / 300 == pytest.approx(share_typed, abs=0.1)
        assert all(query.row == known[query.id].row for query in queries), "the intent and its labels are unchanged"


def test_words_are_replaced_by_synonyms_for_ever() -> None:
    stream = stream_of(Plan((Event("words", 100, share=1.0),)))
    drift = stream.drift
    assert drift is not None
    assert drift.text_at("wide sneakers for broad feet", 99) == "wide sneakers for broad feet"
    replaced = drift.text_at("wide Sneakers for broad feet", 100)
    assert replaced in ("wide plimsolls for broad feet", "wide tennies for broad feet")
    texts = [query.text for query in stream.queries]
    changed = np.mean([drift.text_at(text, 10**6) != text for text in texts])
    assert 0.25 < changed < 0.8
    other = generated_words()
    assert all(drift.text_at(old, 100) == new for old, new in other.items())
    half = Drift(SHOP, Plan((Event("words", 0, share=0.5),)))
    assert 0.35 < np.mean([half.text_at(old, 0) != old for old in other]) < 0.65


def test_shop_at_keeps_ids_rows_and_labels() -> None:
    drift = Drift(SHOP, Plan((Event("words", 100, share=1.0),)))
    before, after = drift.shop_at(0), drift.shop_at(100)
    assert before.hash == SHOP.hash != after.hash and after.products_hash == SHOP.products_hash
    assert [query.id for query in after.all_queries] == [query.id for query in SHOP.all_queries]
    assert (after.qrels != SHOP.qrels).nnz == 0


def test_changes_counts_word_and_product_changes() -> None:
    drift = Drift(
        SHOP, Plan((Event("words", 100, 50, share=1.0), Event("typos", 10), Event("churn", 120)), reserve=0.1)
    )
    seen = []
    for at in (0, 99, 100, 120, 149, 150):
        drift.apply_until(at)
        seen.append(drift.changes)
    assert seen == [0, 0, 1, 2, 2, 3]


def test_your_own_words(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("couch: davenport\nfridge: icebox\n")
    drift = Drift(TINY, Plan((Event("words", 0, share=1.0, what=str(path)),)))
    assert drift.text_at("Couch cover fridge fridges", 0) == "davenport cover icebox fridges", "whole words only"
    path.write_text("- couch\n")
    with pytest.raises(ConfigError, match="phrase: other phrase"):
        Drift(TINY, Plan((Event("words", 0, what=str(path)),)))
    with pytest.raises(ConfigError, match="has no known synonyms"):
        Drift(TINY, Plan((Event("words", 0),)))


def test_churn_replaces_its_share_in_batches() -> None:
    drift = Drift(SHOP, Plan((Event("churn", 1_000, 8_000, 0.1),), reserve=0.1))
    masks = [drift.on_sale(at).copy() for at in range(0, 10_000, 500)]
    assert {int(mask.sum()) for mask in masks} == {3_600}, "as many products are added as removed"
    changes = [int((a != b).sum()) for a, b in pairwise(masks)]
    assert sum(change > 0 for change in changes) == BATCHES
    assert sum(changes) == 720 and int((masks[0] & ~masks[-1]).sum()) == 360, "no product returns within one event"


def test_products_added_and_removed() -> None:
    plan = Plan((Event("add", 10, share=0.05), Event("remove", 20, share=0.2)), reserve=0.1)
    drift = Drift(SHOP, plan)
    assert [int(drift.on_sale(at).sum()) for at in (9, 10, 20)] == [3_600, 3_780, 3_060]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_state_at_a_clock_does_not_depend_on_earlier_calls(name: str) -> None:
    one, other = (Drift(SHOP, PRESETS[name]) for _ in range(2))
    clocks = [0, 3_300, 8_100, 9_700, 13_000, 20_000]
    forward = [(one.on_sale(at).copy(), one.query_at(one.queries[5], at), one.traffic_key(at)) for at in clocks]
    for at, (on_sale_C, query, key) in reversed(list(zip(clocks, forward, strict=True))):
        assert np.array_equal(other.on_sale(at), on_sale_C)
        assert (other.query_at(other.queries[5], at), other.traffic_key(at)) == (query, key)


def test_random_events_never_end_and_are_of_every_kind() -> None:
    drift = Drift(SHOP, Plan(reserve=0.1, every=500))
    events = drift.events(50_000)
    assert 60 < len(events) < 140 and {event.kind for event in events} == {"season", "trend", "typos", "words", "churn"}
    assert Drift(SHOP, Plan(reserve=0.1, every=500)).events(50_000) == events
    assert Drift(SHOP, Plan(reserve=0.1, every=500, seed=1)).events(50_000) != events
    assert {event.kind for event in Drift(TINY, Plan(every=50)).events(10_000)} == {"season", "trend", "typos"}


@pytest.mark.parametrize("name", ["busy", "random"])
def test_a_stream_resumes_to_the_byte(name: str) -> None:
    stream = stream_of(PRESETS[name], sessions=0.3)
    for n in (5_000, 4_700):
        stream.take(n)
    state = json.loads(json.dumps(stream.state_dict()))
    later = [stream.arrivals(n) for n in (700, 2_500, 9)]
    other = stream_of(PRESETS[name], sessions=0.3)
    other.load_state_dict(state)
    # As texts: an unknown time is NaN, and from Python 3.13 on a dataclass with NaN does not equal itself.
    assert repr([other.arrivals(n) for n in (700, 2_500, 9)]) == repr(later)
    on_sale = [s.drift.assortment.now.on_sale_C for s in (stream, other)]  # type: ignore[union-attr]
    assert np.array_equal(*on_sale) and not on_sale[0].all()
    assert other.state_dict() == stream.state_dict()
    with pytest.raises(IndexMismatchError, match="drift"):
        QueryStream(stream.queries, sessions=0.3).load_state_dict(state)


def test_environment_and_assortment_change_together_and_resume() -> None:
    def make() -> QueryRewriteVectorEnv:
        drift = Drift(TINY, Plan((Event("churn", 12, 24, 0.4),), reserve=0.4))
        live = LiveRetriever(BM25.build(TINY), drift.assortment)
        stream = QueryStream(drift.queries, drift=drift)
        return QueryRewriteVectorEnv(TINY, live, LabelsJudge(TINY), num_envs=4, stream=stream)

    envs, epochs = make(), set()
    envs.reset(seed=0)
    for _ in range(6):
        on_sale_C = envs.simulator.retriever.epoch.on_sale_C  # type: ignore[attr-defined]
        *_, infos = envs.step(["sofa", "refrigerator", "shoes", ""])
        rows = np.concatenate([infos["hits_before"].rows_NK, infos["hits_after"].rows_NK])
        assert on_sale_C[rows[rows >= 0]].all()
        epochs.add(on_sale_C.tobytes())
    assert len(epochs) > 3
    state = json.loads(json.dumps(envs.state_dict()))
    other = make()
    assert other.load_state_dict(state) == envs.simulator.observe()
    for _ in range(4):
        ours, theirs = (one.step(["sofa", "couch", "", "42"]) for one in (envs, other))
        assert ours[0] == theirs[0]
        np.testing.assert_array_equal(ours[1], theirs[1])
    first, _ = envs.reset(seed=0)
    assert first == make().reset(seed=0)[0], "a reset with a seed restores the initial assortment"


def test_plans_are_read_and_invalid_ones_raise(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("reserve: 0.2\nseed: 3\nevents:\n  - {kind: churn, at: 10, share: 0.1}\n  - {kind: typos, at: 5}\n")
    assert load_plan(str(path)) == Plan((Event("churn", 10, 0, 0.1), Event("typos", 5)), 0.2, 0, 3)
    for text in ("events: [{kind: typos}]", "evry: 3", "- 1", "events: {", "events: 3", "a text"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="is no plan"):
            load_plan(str(path))
    with pytest.raises(ConfigError, match="presets are words, churn"):
        load_plan("wrods")
    with pytest.raises(ConfigError, match="no event 'quake'"):
        Event("quake", 0)
    with pytest.raises(ConfigError, match="share"):
        Event("typos", 0, share=0.0)
    with pytest.raises(ConfigError, match="reserve"):
        Plan((Event("churn", 0),))


def test_an_impossible_event_raises() -> None:
    for event, words in (
        (Event("season", 0, what="Gardens"), "no department 'Gardens'"),
        (Event("brand", 0, what="Nobody"), "brand 'Nobody'"),
        (Event("trend", 0, what="zeppelin"), "no query holds 'zeppelin'"),
    ):
        with pytest.raises(ConfigError, match=words):
            Drift(TINY, Plan((event,)))
    with pytest.raises(ConfigError, match="other queries"):
        QueryStream(TINY.split("dev"), drift=Drift(TINY, Plan()))


def test_products_without_categories_have_no_department() -> None:
    from dataclasses import replace

    blank = pa.array([""] * len(TINY.products))
    bare = replace(TINY, products=TINY.products.set_column(4, "category", blank))
    assert set(departments(bare)) == {""}
