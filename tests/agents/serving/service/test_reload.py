"""A broken version is refused and the old one stays; a good one takes over."""

from agents.serving.rewritten import rewritten
from agents.serving.service import reload
from qr_env.common.errors import DataError
from tests.agents.serving.service.conftest import Entry, Opener, Rewriter, Table, counted, loaded_with


def table(version, rewrite):
    return Table({"couch": Entry(rewritten("couch", rewrite))}, version)


def ask(client):
    return client.post("/rewrite", json={"query": "couch"}).json()["rewrite"]


def test_the_next_version_takes_over_and_the_one_before_is_closed(serving, rewriter, monkeypatch):
    monkeypatch.setattr(reload, "SPARE_SECONDS", 0.0)
    first, second = table("t@1", "sofa"), table("t@2", "settee")
    opener = Opener(loaded_with(rewriter, table=first))
    client = serving(opener=opener)
    assert ask(client) == "sofa"
    opener.version = loaded_with(rewriter, table=second)
    assert client.post("/reload").json() == {"version": "fake@1", "table": "t@2"}
    assert ask(client) == "settee"
    assert (first.closed, second.closed) == (True, False)
    assert client.get("/ready").json()["table"] == "t@2"


def test_what_was_remembered_is_forgotten(serving, rewriter):
    opener = Opener(loaded_with(rewriter))
    client = serving(opener=opener)
    assert ask(client) == "sofa^0.5"
    opener.version = loaded_with(lambda queries: [rewritten(query, "settee") for query in queries])
    client.post("/reload")
    assert ask(client) == "settee"


def test_a_broken_version_is_refused(serving, rewriter):
    opener = Opener(loaded_with(rewriter, table=table("t@1", "sofa")))
    client = serving(opener=opener)
    broken = table("t@2", "settee")
    broken.error = DataError("/srv/tables/rewrites.db is damaged")
    for version in (
        DataError("/srv/tables is gone"),
        loaded_with(rewriter, table=broken),
        loaded_with(Rewriter(error=RuntimeError("no weights"))),
        loaded_with(lambda queries: []),
    ):
        opener.version = version
        response = client.post("/reload")
        assert response.status_code == 409 and "srv" not in response.text
        assert ask(client) == "sofa"
        assert client.get("/ready").json()["table"] == "t@1"
    assert counted(client, "qr_reloads_total", outcome="refused") == 4
