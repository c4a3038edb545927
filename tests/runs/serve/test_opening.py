"""What the service answers from, opened from flags; versions as clients see them."""

import pytest

from agents.serving.table.entry import TableFacts
from qr_env.common.errors import IndexMismatchError
from qr_env.shop.sources.files import write_shop
from runs.serve import opening
from runs.serve.args import Args
from runs.serve.opening import Opening, public_version
from tests.helpers.fakes import tiny_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("opened")
    write_shop(tiny_shop(), folder / "shop")
    return folder


def args(shop, **more):
    return Args(agent="repair", shop=str(shop / "shop"), cache=str(shop / "cache"), **more)


def test_a_rewriter_that_did_not_change_is_taken_over(shop):
    opened = Opening(args(shop))
    first = opened.open(None)
    assert [one.rewrite for one in first.rewriters["baseline"](["runing shoos"])] == ["running shoes"]
    second = opened.open(first)
    assert second is not first and second.rewriters["baseline"] is first.rewriters["baseline"]
    assert second.retriever is first.retriever
    assert list((shop / "cache").rglob("*.sqlite")) == []  # nothing of what shoppers type is stored


def test_exploration_draws_with_known_probability(shop):
    chooser = Opening(args(shop, explore=0.5, candidates=2)).open(None).choosers["baseline"]
    drawn = dict(chooser.choose(["runing shoos"] * 50, range(50)))
    assert drawn == {"running shoes": 0.75, "": 0.25}


def test_rules_are_read_at_each_reload(shop, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("overrides: {sofa: couch}\n")
    opened = Opening(args(shop, rules=rules))
    first = opened.open(None)
    assert first.rules.override("sofa").rewrite == "couch"
    rules.write_text("overrides: {sofa: settee}\n")
    assert opened.open(first).rules.override("sofa").rewrite == "settee"


def test_a_table_of_another_way_to_search_is_refused(shop, monkeypatch):
    class Replacing:
        facts = TableFacts("t@1", 0, {"combine": "replace"})
        version = "t@1"

        def look_up(self, queries):
            return [None for _ in queries]

        def close(self):
            self.closed = True

    table = Replacing()
    monkeypatch.setattr(opening, "open_table", lambda place: table)
    with pytest.raises(IndexMismatchError, match="combine='replace'"):
        Opening(args(shop, table="rewrites.db")).open(None)
    assert table.closed


@pytest.mark.parametrize(
    ("version", "seen"),
    [
        ("/srv/out/mine/checkpoints/best@1f2e", "best@1f2e"),
        ("best-of-8:/srv/out/best@1f2e", "best-of-8:best@1f2e"),
        ("suggest@1f2e", "suggest@1f2e"),
    ],
)
def test_versions_name_no_folder(version, seen):
    assert public_version(version) == seen
