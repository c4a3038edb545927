"""`kill -9` of the service at random moments, while shoppers send events: what was acknowledged is in the log.

QR_KILLS=20 pytest tests/proofs/test_serve_kill.py       # the full proof, minutes
"""

import os
import random
import threading
import time

import httpx
import pytest

from qr_env.shop.sources.files import write_shop
from qr_env.traffic.ubi import read_ubi
from tests.helpers.fakes import tiny_shop
from tests.helpers.live_service import LiveService

KILLS = int(os.environ.get("QR_KILLS", "3"))
CLIENTS = 4


class Shoppers:
    """Threads that search and buy until the server is gone, and note what it acknowledged."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.acknowledged: list[str] = []
        self.searched: list[str] = []
        self.threads = [threading.Thread(target=self._shop, args=(at,)) for at in range(CLIENTS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join()

    def _shop(self, number):
        at = 0
        with httpx.Client(base_url=self.url, timeout=10) as client:
            while True:
                at += 1
                try:
                    answer = client.post("/search", json={"query": "red sofa", "session_id": f"{number}-{at}", "k": 2})
                    query_id, event_id = answer.json()["query_id"], f"{self.name}-{number}-{at}"
                    what = {"object": {"object_id": answer.json()["products"][0]["product_id"]}}
                    bought = {"action_name": "purchase", "query_id": query_id, "event_id": event_id}
                    if client.post("/events", json=bought | {"event_attributes": what}).status_code == 200:
                        self.acknowledged.append(event_id)
                        self.searched.append(query_id)
                except httpx.HTTPError:
                    return


@pytest.mark.live
def test_no_acknowledged_event_is_lost(tmp_path):
    draw, shop, log = random.Random(7), tmp_path / "shop", tmp_path / "log"
    write_shop(tiny_shop(), shop)
    acknowledged, searched = set(), set()
    for kill in range(KILLS):
        with LiveService(shop, "repair", "--log", str(log)) as service, Shoppers(service.url, f"k{kill}") as shoppers:
            while not shoppers.acknowledged:
                time.sleep(0.01)
            time.sleep(draw.uniform(0.0, 0.5))
            service.process.kill()
        acknowledged |= set(shoppers.acknowledged)
        searched |= set(shoppers.searched)
    with LiveService(shop, "repair", "--log", str(log)):
        pass  # cuts the line that the last kill may have left unfinished
    found = read_ubi(log)
    assert len(acknowledged) > KILLS
    assert acknowledged <= {event.event_id for event in found.events}
    assert searched <= {query.query_id for query in found.queries}
    print(f"{KILLS} kills, {len(acknowledged)} acknowledged events, {len(found.events)} in the log")
