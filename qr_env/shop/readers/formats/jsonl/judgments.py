"""Graded pairs in the nested JSON of other tools, as rows of query, product and grade.

    nested_grades({"q1": {"p7": 3}})      # ranx, pytrec_eval: [{"query_id": "q1", "product_id": "p7", "grade": 3}]
    expanded(iter([(1, {"query": "sofa", "ratings": [{"docId": "p7", "rating": "3.0"}]}])))     # OpenSearch's Workbench

Rated Ranking Evaluator (RRE, which Quepid exports) has topics of query groups with relevant_documents, {"3": ["p7"]} or
{"p7": {"gain": 3}}.
"""

from __future__ import annotations

from collections.abc import Iterator

Value = tuple[int, object]  # line, from 1, and what stands there
Row = dict[str, object]


def nested_grades(document: object) -> list[Row]:
    """The pairs of an object of objects of numbers; [] for anything else."""
    if not isinstance(document, dict) or not document:
        return []
    pairs = [(query, grades) for query, grades in document.items() if isinstance(grades, dict)]
    if len(pairs) < len(document) or not all(_is_number(grade) for _, grades in pairs for grade in grades.values()):
        return []
    return [
        {"query_id": query, "product_id": product, "grade": grade}
        for query, grades in pairs
        for product, grade in grades.items()
    ]


def expanded(values: Iterator[Value]) -> Iterator[Value]:
    """Each value, those of judgment lists as one row a pair, on the line of their list."""
    for line, value in values:
        rows = _pairs(value) if isinstance(value, dict) else None
        if rows is None:
            yield line, value
        else:
            yield from ((line, row) for row in rows)


def _pairs(value: Row) -> list[Row] | None:
    """The pairs of the Workbench's or RRE's objects; None for another object."""
    if isinstance(value.get("ratings"), list) and "query" in value:
        return [{"query": value["query"], **rating} for rating in _objects(value["ratings"])]
    if isinstance(value.get("query_groups"), list):
        return [pair for group in _objects(value["query_groups"]) for pair in _group_pairs(group)]
    if isinstance(value.get("relevant_documents"), dict) and "name" in value:
        return _group_pairs(value)
    return None


def _group_pairs(group: Row) -> list[Row]:
    """The pairs of one query group of RRE."""
    pairs: list[Row] = []
    documents = group.get("relevant_documents")
    for key, found in documents.items() if isinstance(documents, dict) else ():
        if isinstance(found, list):
            pairs += [{"query": group.get("name"), "product_id": product, "grade": key} for product in found]
        elif isinstance(found, dict):
            pairs.append({"query": group.get("name"), "product_id": key, "grade": found.get("gain")})
    return pairs


def _objects(value: object) -> list[Row]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
