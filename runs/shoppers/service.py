"""Simulated shoppers of a running `qr serve`: searches by `POST /search`, events by `POST /events`.

A request that fails is repeated, with growing pauses, until the service answers: what shoppers did is neither lost nor
counted twice, since every event has an id. The service's own list decides what they see.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from judges.shoppers.sessions.simulator import SearchAnswer, SearchRequest, Visits
from judges.shoppers.sessions.ubi import shopper_events
from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from qr_env.shop.shop import Shop
from qr_env.traffic.ubi import event_line

PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds before a request is repeated; the last one again and again
GIVE_UP = 120.0  # seconds without any answer
BATCH = 200  # events of a request


class ServiceSearcher:
    """Searches with a service.

    Args:
        url: base URL. shop: its products, by id. run: part of every session's id, so that two runs are two sets of
            sessions. token: secret. concurrency: requests at once. rps: requests a second at most, 0: no limit.

    Raises:
        ConfigError: the service does not answer, or refuses the token.
    """

    name = "service"

    def __init__(
        self, url: str, shop: Shop, run: str, token: str = "", concurrency: int = 16, rps: float = 0.0
    ) -> None:
        import httpx  # noqa: PLC0415 - takes a while to load, and only this searcher needs it

        self._url, self._shop, self._run = url.rstrip("/"), shop, run
        self._rows = {one: row for row, one in enumerate(shop.products["product_id"].to_pylist())}
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._concurrency, self._pause = concurrency, 1 / rps if rps else 0.0
        self._next = 0.0
        self._error = httpx.HTTPError
        self._httpx = httpx
        self.sent = self.repeated = 0
        self._bar = tqdm(desc="search", unit="search")
        asyncio.run(self._check())

    async def _check(self) -> None:
        """Wait until the service has loaded what it answers from."""
        started, problem = time.monotonic(), ""
        async with self._client() as client:
            while time.monotonic() - started < GIVE_UP:
                try:
                    answer = await client.get("/ready")
                    if answer.status_code == 200:
                        return
                    problem = f"status {answer.status_code}"
                    if answer.status_code in (401, 403):
                        break
                except self._error as error:
                    if not problem:
                        print_message(f"waiting for {self._url} …")
                    problem = f"{type(error).__name__}: {error}"
                await asyncio.sleep(1.0)
        raise ConfigError(f"url={self._url!r}: no service is ready there ({problem}); start qr serve, name its token")

    def _client(self) -> Any:
        limits = self._httpx.Limits(max_connections=self._concurrency)
        return self._httpx.AsyncClient(base_url=self._url, headers=self._headers, limits=limits, timeout=30.0)

    def answer(self, requests: Sequence[SearchRequest], k: int) -> list[SearchAnswer]:
        """The lists that the service shows for N searches."""
        bodies = [
            {
                "query": one.query.text,
                "session_id": f"{self._run}-session-{one.session}",
                "client_id": f"{self._run}-user-{one.user}",
                "k": k,
            }
            for one in requests
        ]
        found = asyncio.run(self._send("/search", bodies))
        self._bar.update(len(found))
        return [self._answer(values) for values in found]

    def _answer(self, values: dict[str, Any]) -> SearchAnswer:
        rows = [self._rows[one["product_id"]] for one in values["products"] if one["product_id"] in self._rows]
        rows_K = np.array(rows, np.int32)
        fields = (values["rewrite"], values["variant"], values["propensity"], values["query_id"])
        return SearchAnswer(rows_K, *fields)

    def shown(self, visits: Visits) -> None:
        """Send what shoppers did; returns when the service has it on disk."""
        lines = [json.loads(event_line(event)) for event in shopper_events(visits, self._shop)]
        for line in lines:
            for key in ("session_id", "client_id"):
                line[key] = f"{self._run}-{line[key]}"
            line["timestamp"] = None  # the service's own clock, as for the queries
        parts = [{"events": lines[start : start + BATCH]} for start in range(0, len(lines), BATCH)]
        if parts:
            asyncio.run(self._send("/events", parts))

    def close(self) -> None:
        """End the progress bar."""
        self._bar.close()

    async def _send(self, path: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        gate = asyncio.Semaphore(self._concurrency)
        async with self._client() as client:
            return await asyncio.gather(*(self._one(client, gate, path, body) for body in bodies))

    async def _one(self, client: Any, gate: asyncio.Semaphore, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with gate:
            started, tries = time.monotonic(), 0
            while True:
                await self._wait_for_turn()
                self.sent += 1
                try:
                    answer = await client.post(path, json=body)
                    if answer.status_code < 400:
                        found: dict[str, Any] = answer.json()
                        return found
                    problem = f"status {answer.status_code}: {answer.text[:200]}"
                    if answer.status_code < 500 and answer.status_code != 429:
                        raise ConfigError(f"url={self._url!r}: {path} refuses the request ({problem})")
                except self._error as error:
                    problem = f"{type(error).__name__}: {error}"
                if time.monotonic() - started > GIVE_UP:
                    raise ConfigError(f"url={self._url!r}: no answer in {GIVE_UP:.0f} s ({problem}); start qr serve")
                if not tries:
                    print_message(f"{path}: {problem}; repeated until it is answered")
                self.repeated += 1
                await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1

    async def _wait_for_turn(self) -> None:
        if self._pause:
            now = time.monotonic()
            self._next = max(self._next, now) + self._pause
            await asyncio.sleep(max(self._next - self._pause - now, 0))
