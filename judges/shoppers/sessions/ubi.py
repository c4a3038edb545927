"""Sessions of simulated shoppers as User Behavior Insights (`qr_env.traffic.ubi`).

write_ubi(visits, shop, Path("events"), start=1_767_225_600)      # ubi_queries.ndjson, ubi_events.ndjson
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from judges.shoppers.sessions.simulator import BOUGHT, CARTED, CLICKED, Visits
from qr_env.common.atomic_io import atomic_write
from qr_env.common.privacy import mask_text
from qr_env.shop.shop import Shop
from qr_env.traffic.ubi import EVENT_LINES, QUERIES, ServedQuery, ShopperEvent, event_line, query_line

SECONDS_A_PRODUCT = 5.0  # between the results of a list, top to bottom
EVENTS_BY_DEPTH = {"click": CLICKED, "cart": CARTED, "purchase": BOUGHT}


def served_queries(visits: Visits, shop: Shop, start: float = 0.0) -> Iterator[ServedQuery]:
    """The searches. start: seconds since 1970 of the run's first day."""
    ids = shop.products["product_id"]
    for request, answer in zip(visits.requests, visits.answers, strict=True):
        yield ServedQuery(
            query_id=answer.query_id or query_id(request.session, request.time),
            query=mask_text(request.query.text),
            session_id=f"session-{request.session}",
            client_id=f"user-{request.user}",
            timestamp=start + request.time,
            rewrite=answer.rewrite,
            variant=answer.variant,
            propensity=answer.propensity,
            product_ids=tuple(ids[row].as_py() for row in answer.rows_K.tolist() if row >= 0),
        )


def shopper_events(visits: Visits, shop: Shop, start: float = 0.0) -> Iterator[ShopperEvent]:
    """Clicks, carts and purchases, each as an event of its own, in the order of the lists."""
    ids = shop.products["product_id"]
    for at, (request, answer) in enumerate(zip(visits.requests, visits.answers, strict=True)):
        name = answer.query_id or query_id(request.session, request.time)
        for rank, row in enumerate(answer.rows_K.tolist()[: visits.depth_NK.shape[1]]):
            depth = int(visits.depth_NK[at, rank])
            for action, least in EVENTS_BY_DEPTH.items():
                if row < 0 or depth < least:
                    continue
                yield ShopperEvent(
                    query_id=name,
                    action=action,
                    product_id=ids[row].as_py(),
                    position=rank + 1,
                    session_id=f"session-{request.session}",
                    client_id=f"user-{request.user}",
                    timestamp=start + request.time + SECONDS_A_PRODUCT * (rank + 1),
                    price=float(visits.price_NK[at, rank]),
                    quantity=max(int(visits.pieces_NK[at, rank]), 1),
                    event_id=f"{name}-{rank + 1}-{action}",
                )


def query_id(session: int, moment: float) -> str:
    """Id of a search that no service named."""
    return f"q{session}-{int(moment)}"


def write_ubi(visits: Visits, shop: Shop, folder: Path, start: float = 0.0) -> None:
    """Write both files, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    queries = "".join(query_line(one) + "\n" for one in served_queries(visits, shop, start))
    events = "".join(event_line(one) + "\n" for one in shopper_events(visits, shop, start))
    atomic_write(folder / f"{EVENT_LINES}.ndjson", events)
    atomic_write(folder / f"{QUERIES}.ndjson", queries)
