"""Documents of Elasticsearch, OpenSearch and Solr as they are dumped: the fields stand inside `_source`.

    unwrapped({"_index": "shop", "_id": "7", "_source": {"title": "sofa"}})     # {"_id": "7", "title": "sofa"}
    unwrapped({"event_attributes": {"object": {"object_id": "7"}}})             # {"object_id": "7", "ordinal": None, …}

A bulk file has two lines a document: `{"index": {"_id": "7"}}`, then the fields.
"""

from __future__ import annotations

from collections.abc import Iterator

HITS = "hits.hits"  # where a search response has its documents; its aggregations are lists of objects too
WRAPPERS = frozenset(("_source", "fields", "event_attributes"))
ACTIONS = ("index", "create", "update", "delete")
Value = tuple[int, object]  # line, from 1, and what stands there


def unwrapped(value: object) -> object:
    """The fields of a document with its `_id`; anything else as it is."""
    if not isinstance(value, dict) or WRAPPERS.isdisjoint(value):
        return value
    value = _event(value)
    parts = (value.get(key) for key in ("_source", "fields"))
    source = next((part for part in parts if isinstance(part, dict)), None)
    if source is None or not ("_id" in value or "_source" in value):
        return value
    source = _event(source)
    return {"_id": value["_id"], **source} if "_id" in value else source


def _event(value: dict[str, object]) -> dict[str, object]:
    """An event of UBI with the product and its rank, which stand inside `event_attributes`, beside the other fields."""
    attributes = value.get("event_attributes")
    if not isinstance(attributes, dict):
        return value
    found, position = attributes.get("object"), attributes.get("position")
    product = found.get("object_id") if isinstance(found, dict) else attributes.get("object_id")
    ordinal = position.get("ordinal") if isinstance(position, dict) else None
    return {"object_id": product, "ordinal": ordinal} | value


def documents(values: Iterator[Value]) -> Iterator[Value]:
    """Each document unwrapped, the actions of bulk files merged into the documents that follow them."""
    action: dict[str, object] | None = None
    for line, value in values:
        following, action = action, _action(value)
        if action is not None:
            continue
        if following is not None and isinstance(value, dict):
            fields = value["doc"] if isinstance(value.get("doc"), dict) else value
            value = {"_id": following["_id"], **fields} if "_id" in following else fields
        yield line, unwrapped(value)


def _action(value: object) -> dict[str, object] | None:
    """The action of a bulk file's line; None if it is a document."""
    if not isinstance(value, dict) or len(value) != 1:
        return None
    name, content = next(iter(value.items()))
    is_action = name in ACTIONS and isinstance(content, dict) and all(key.startswith("_") for key in content)
    return content if is_action else None
