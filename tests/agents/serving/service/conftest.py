"""A service over a shop of thirty products, with a rewriter that the tests steer."""

import threading
import time
from dataclasses import dataclass, field

import pytest
from starlette.testclient import TestClient

from agents.serving.experiment.assignment import BASELINE
from agents.serving.rewritten import Rewritten, rewritten
from agents.serving.service.app import make_app
from agents.serving.service.parts import Loaded
from agents.serving.service.settings import ServiceSettings
from tests.helpers.fakes import WordRetriever, tiny_shop


@dataclass
class Rewriter:
    """Adds "sofa" to queries with "couch"; waits or fails when told."""

    seconds: float = 0.0
    error: Exception | None = None
    batches: list[list[str]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def __call__(self, queries):
        self.batches.append(list(queries))
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return [rewritten(query, "sofa^0.5" if "couch" in query else "", model="fake@1") for query in queries]


@dataclass
class Entry:
    rewritten: Rewritten
    passed: bool = True


@dataclass
class Table:
    """A table in memory."""

    entries: dict[str, Entry]
    version: str = "table@1"
    error: Exception | None = None
    closed: bool = False

    def look_up(self, queries):
        if self.error is not None:
            raise self.error
        return [self.entries.get(query) for query in queries]

    def close(self):
        self.closed = True


@dataclass
class Rules:
    """Forbids the word of `forbidden`, answers by hand what `by_hand` holds."""

    by_hand: dict[str, str] = field(default_factory=dict)
    forbidden: str = "?"

    def override(self, query):
        return rewritten(query, self.by_hand[query], source="override") if query in self.by_hand else None

    def apply(self, one, combine="expand"):
        return Rewritten(one.query, source="original") if self.forbidden in one.rewrite else one


def loaded_with(rewriter, **more):
    shop = tiny_shop()
    return Loaded("fake@1", {BASELINE: rewriter}, shop, WordRetriever(shop), trial_query="sofa", **more)


@dataclass
class Opener:
    """Gives the version that is set; raises it where it is an error."""

    version: object

    def __call__(self, before):
        if isinstance(self.version, Exception):
            raise self.version
        return self.version


@pytest.fixture
def rewriter():
    return Rewriter()


@pytest.fixture
def serving(rewriter):
    """serving(settings…, recorder=…, loaded=…) → a client of a ready service."""
    clients = []

    def start(loaded=None, recorder=None, trial=None, key=b"key", opener=None, **settings):
        settings.setdefault("deadline_ms", 2000.0)
        opener = opener or Opener(loaded or loaded_with(rewriter))
        service = make_app(opener, ServiceSettings(**settings), recorder=recorder, trial=trial, key=key)
        client = TestClient(service.app, raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        for _ in range(500):
            if client.get("/ready").status_code == 200:
                break
            time.sleep(0.01)
        rewriter.batches.clear()
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


def counted(client, name, **labels):
    """A value of /metrics; 0 where nothing was counted."""
    for line in client.get("/metrics").text.splitlines():
        found, _, value = line.rpartition(" ")
        if found.startswith(name) and all(f'{label}="{text}"' in found for label, text in labels.items()):
            return float(value)
    return 0.0
