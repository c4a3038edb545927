"""Two tables compared by what they serve."""

from __future__ import annotations

import pytest

from agents.serving.rewritten import rewritten
from agents.serving.table.compare import compare, served
from agents.serving.table.entry import Judged, TableEntry


def entry(query: str, rewrite: str, gain: float | None = 0.1, passed: bool = True, **fields: object) -> TableEntry:
    judged = Judged(original=0.5, rewrite=None if gain is None else 0.5 + gain)
    rules = fields.pop("rules", ())
    return TableEntry(rewritten(query, rewrite, **fields), passed, "", judged, rules)  # type: ignore[arg-type]


def test_shares_are_of_the_traffic_and_gains_of_what_is_served() -> None:
    old = [entry("sofa", "couch", 0.1, frequency=10.0), entry("lamp", "light", 0.3, frequency=30.0),
           entry("rug", "carpet", 0.2, frequency=20.0), entry("gone", "away", frequency=5.0)]  # fmt: skip
    new = [entry("Sofa", "couch", 0.1, frequency=10.0), entry("lamp", "light bulb", 0.1, frequency=40.0),
           entry("rug", "carpet", 0.2, passed=False, frequency=25.0), entry("vase", "", frequency=20.0)]  # fmt: skip
    found = compare(old, new)
    assert (found.added, found.removed, found.same) == (1, 1, 1)
    assert {(one.query, one.old, one.new) for one in found.changes} == {
        ("lamp", "light", "light bulb"), ("rug", "carpet", ""), ("gone", "away", "")
    }  # fmt: skip
    assert found.searches == 100 and found.changed_share == pytest.approx(0.7)
    assert found.worse_share == pytest.approx(0.65)
    assert found.mean_gain == pytest.approx((-0.2 * 40 - 0.2 * 25) / 100)
    assert [one.query for one in found.worst()] == ["lamp", "rug"] and found.best() == []


def test_a_query_that_one_table_lacks_is_the_rewriters() -> None:
    found = compare([entry("sofa", "couch", 0.5)], [])
    assert found.changes[0].gain is None and found.worse_share == 0.0


def test_a_loss_that_a_person_wants_or_that_is_small_is_no_loss() -> None:
    old = [entry("sofa", "couch", 0.3), entry("lamp", "light", 0.3), entry("rug", "mat", 0.3)]
    new = [entry("sofa", "", rules=("never: sofa",)), entry("lamp", "lights", 0.295), entry("rug", "matt", None)]
    found = compare(old, new)
    assert len(found.changes) == 3 and found.worse_share == 0.0
    assert found.mean_gain == pytest.approx((-0.3 - 0.005) / 3)


def test_weights_written_differently_are_the_same_answer() -> None:
    assert compare([entry("sofa", "couch^0.50")], [entry("sofa", "couch^0.5")]).same == 1
    assert served(entry("sofa", "couch", passed=False)) == "" and served(None) == ""
