"""Served queries and what shoppers did with the results, in the files of User Behavior Insights (UBI 1.3).

    append = query_line(ServedQuery("q1", "navy couch", rewrite="sofa", variant="candidate", propensity=0.5))
    log = read_ubi("events/")                     # ubi_queries*.ndjson and ubi_events*.ndjson
    log.queries, log.events, log.report

UBI (https://github.com/o19s/ubi, schema 1.3.0) has a line a query and a line an event, JSON. It has no field for a
rewrite: ours are in `query_attributes`, as `qr_rewrite`, `qr_variant`, `qr_propensity`, `qr_source`. Keys that are not
read are ignored, since names differ between versions. A line that cannot be read is reported with its number, and
skipped or refused as `ReadOptions.on_bad_row` says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from qr_env.common.errors import DataError
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.sources.events import EVENT_OF, EVENTS

Parsed = TypeVar("Parsed", bound="ServedQuery | ShopperEvent")
QUERIES, EVENT_LINES = "ubi_queries", "ubi_events"  # how the names of the two kinds of files begin
ACTIONS = {"none": "impression", "click": "click", "cart": "add_to_cart", "purchase": "purchase"}


@dataclass(frozen=True, slots=True)
class ServedQuery:
    """One search that was answered."""

    query_id: str
    """Unique; events refer to it."""
    query: str
    """As typed, masked (`qr_env.common.privacy`)."""
    session_id: str = ""
    """Visit of one shopper; "" where unknown."""
    client_id: str = ""
    """Pseudonym of the shopper; "" where unknown."""
    timestamp: float = 0.0
    """Seconds since 1970, UTC."""
    rewrite: str = ""
    """What was searched with the query, weights included (`qr_env.query_text.weights`); "" kept the query."""
    variant: str = ""
    """Variant of the experiment that served it."""
    propensity: float = 1.0
    """Probability with which this variant was assigned and served this rewrite for this query; in (0, 1]."""
    source: str = ""
    """Who made the rewrite: "table", "student", "override", "original" …"""
    product_ids: tuple[str, ...] = ()
    """The products shown, best first."""
    assignment: float = 1.0
    """Probability of the variant alone; `propensity` / `assignment` is that of the rewrite within the variant."""


@dataclass(frozen=True, slots=True)
class ShopperEvent:
    """What a shopper did with a product."""

    query_id: str
    """Of the search that showed it."""
    action: str
    """One of `qr_env.shop.sources.events.EVENTS`: "none" (an impression), "click", "cart", "purchase"."""
    product_id: str
    """The product."""
    position: int = 0
    """Its rank from 1; 0 where unknown."""
    session_id: str = ""
    """As in `ServedQuery`."""
    client_id: str = ""
    """As in `ServedQuery`."""
    timestamp: float = 0.0
    """Seconds since 1970, UTC."""
    price: float = math.nan
    """Price of one piece; NaN where unknown."""
    quantity: int = 1
    """Pieces bought."""
    event_id: str = ""
    """Unique where given: an event that is sent twice counts once."""


@dataclass(frozen=True)
class UbiLog:
    """What was read."""

    queries: list[ServedQuery]
    """In the order of the files."""
    events: list[ShopperEvent]
    """In the order of the files, equal `event_id`s once."""
    report: LoadReport = field(default_factory=LoadReport)
    """Lines that were left out."""


def query_line(served: ServedQuery) -> str:
    """One line of `ubi_queries`, without its line break."""
    attributes = {
        "qr_rewrite": served.rewrite,
        "qr_variant": served.variant,
        "qr_propensity": served.propensity,
        "qr_assignment": served.assignment,
        "qr_source": served.source,
    }
    return _dumped(
        {
            "timestamp": _written_time(served.timestamp),
            "query_id": served.query_id,
            "client_id": served.client_id,
            "session_id": served.session_id,
            "user_query": served.query,
            "query_response_hit_ids": list(served.product_ids),
            "query_attributes": attributes,
        }
    )


def event_line(event: ShopperEvent) -> str:
    """One line of `ubi_events`, without its line break."""
    bought: dict[str, Any] = {"quantity": event.quantity} | ({} if math.isnan(event.price) else {"price": event.price})
    attributes = {
        "object": {"object_id": event.product_id, "object_id_field": "product_id"},
        "position": {"ordinal": event.position},
        **bought,
    }
    return _dumped(
        {
            "timestamp": _written_time(event.timestamp),
            "event_id": event.event_id,
            "action_name": ACTIONS[event.action],
            "query_id": event.query_id,
            "client_id": event.client_id,
            "session_id": event.session_id,
            "event_attributes": attributes,
        }
    )


def parse_query(values: dict[str, Any]) -> ServedQuery:
    """A decoded line of `ubi_queries`; raises ValueError with the reason."""
    attributes = values.get("query_attributes") or {}
    propensity = float(attributes.get("qr_propensity", 1.0))
    if not 0 < propensity <= 1:
        raise ValueError(f"qr_propensity={propensity} is not in (0, 1]")
    assignment = float(attributes.get("qr_assignment", 1.0))
    if not propensity <= assignment <= 1:
        raise ValueError(f"qr_assignment={assignment} is not in [qr_propensity, 1]")
    return ServedQuery(
        query_id=_text(values, "query_id", required=True),
        query=_text(values, "user_query", required=True),
        session_id=_text(values, "session_id"),
        client_id=_text(values, "client_id"),
        timestamp=_read_time(values.get("timestamp")),
        rewrite=_text(attributes, "qr_rewrite"),
        variant=_text(attributes, "qr_variant"),
        propensity=propensity,
        source=_text(attributes, "qr_source"),
        product_ids=tuple(map(str, values.get("query_response_hit_ids") or ())),
        assignment=assignment,
    )


def parse_event(values: dict[str, Any]) -> ShopperEvent:
    """A decoded line of `ubi_events`; raises ValueError with the reason."""
    word = _text(values, "action_name", required=True).lower().replace(" ", "_").replace("-", "_")
    if word not in EVENT_OF:
        raise ValueError(f"action_name={word!r} is none of {', '.join(ACTIONS.values())}, nor a word for one")
    attributes = values.get("event_attributes") or {}
    thing, position = attributes.get("object") or {}, attributes.get("position") or {}
    price = attributes.get("price")
    return ShopperEvent(
        query_id=_text(values, "query_id", required=True),
        action=EVENTS[EVENT_OF[word]],
        product_id=_text(thing, "object_id", required=True),
        position=int(position.get("ordinal") or 0),
        session_id=_text(values, "session_id"),
        client_id=_text(values, "client_id"),
        timestamp=_read_time(values.get("timestamp")),
        price=math.nan if price is None else float(price),
        quantity=int(attributes.get("quantity") or 1),
        event_id=_text(values, "event_id"),
    )


def read_ubi(folder: str | Path, options: ReadOptions | None = None) -> UbiLog:
    """Read a folder of UBI files.

    Raises:
        BadRowError: a line is invalid and `on_bad_row` is "stop".
        DataError: the folder holds no file of queries.
    """
    folder, report = Path(folder), LoadReport(options or ReadOptions())
    queries_files, event_files = (
        sorted(path for path in folder.glob(f"{kind}*") if path.suffix in (".ndjson", ".jsonl", ".json"))
        for kind in (QUERIES, EVENT_LINES)
    )
    if not queries_files:
        raise DataError(f"{folder} holds no {QUERIES}*.ndjson: name a folder that qr serve wrote, or an export of UBI")
    queries = [parsed for path in queries_files for parsed in _parsed(path, parse_query, report)]
    events = [parsed for path in event_files for parsed in _parsed(path, parse_event, report)]
    by_id = {event.event_id or f"line {at}": event for at, event in reversed(list(enumerate(events)))}
    return UbiLog(queries, list(reversed(by_id.values())), report)


def _parsed(path: Path, parse: Callable[[dict[str, Any]], Parsed], report: LoadReport) -> Iterator[Parsed]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield parse(json.loads(line))
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                report.add(str(path), [(number, str(error), line.strip())])


def _text(values: dict[str, Any], name: str, required: bool = False) -> str:
    value = values.get(name)
    if value is None or value == "":
        if required:
            raise ValueError(f"{name} is missing")
        return ""
    return str(value)


def _dumped(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def _written_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read_time(value: Any) -> float:
    if value in (None, ""):
        return 0.0
    if isinstance(value, int | float):
        return float(value) / 1000 if value > 1e11 else float(value)
    moment = datetime.fromisoformat(str(value))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
