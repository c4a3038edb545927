"""Values that are no text become text: lists, objects, truth values, dates and numbers of JSONL and Parquet files."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import pyarrow as pa
import pytest

from qr_env.shop.readers.flatten import cell_text, column_text, flat_text, without_lists


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("oak", "oak"),
        (12.0, "12"),
        (1.5, "1.5"),
        (float("nan"), ""),
        (12345678901234567890, "12345678901234567890"),
        (True, "true"),
        ([], ""),
        (["oak", None, "", 120], "oak | 120"),
        ([["Home", "Tables"], ["Sale"]], "Home | Tables | Sale"),
        ({"color": "red", "sizes": ["S", "M"], "none": None}, "color: red | sizes: S, M"),
        ([{"name": "color", "value": "red"}, {"name": "size", "value": 3}], "color: red | size: 3"),
        ([{"key": "color", "value": ["red", "blue"]}], "color: red, blue"),
        ({"name": "color", "value": None}, ""),
        ({"id": 6, "name": "Size", "position": 0, "options": ["S", "M"]}, "Size: S, M"),
        ({"name": "weight", "value": 3.0, "unit": "kg"}, "weight: 3 kg"),
        ({"name": "Nord", "id": 7}, "name: Nord | id: 7"),
        ({"weight": {"value": 3, "unit": "kg"}}, "weight: 3 kg"),
        ({"name": None, "value": "red"}, "red"),
    ],
)
def test_flat_text(value: object, text: str) -> None:
    assert flat_text(value) == text


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (["7"], "product_id", "7"),
        ({"$oid": "5f"}, "product_id", "5f"),
        (12.0, "query_id", "12"),
        (["1", "2"], "product_id", None),
        ({"a": 1, "b": 2}, "product_id", None),
        ([], "product_id", ""),
        ([199.0], "price", "199"),
        ([1.234], "price", "1.2340"),
        ({"amount": "5.00", "currencyCode": "EUR"}, "price", "5.00 EUR"),
        ({"value": 5, "currency": "EUR"}, "price", "5 EUR"),
        ([{"amount": 5}], "price", "5"),
        ({"EUR": 5}, "price", "5 EUR"),
        ({"count": 5}, "frequency", "5"),
        ({"min": 5, "max": 9}, "price", "min: 5 | max: 9"),
        (1.234, "title", "1.234"),
        ({"id": 7, "name": "Nord"}, "brand", "Nord"),
        ([{"id": 9, "name": "Home"}, {"id": 10, "name": "Tables"}], "category", "Home | Tables"),
        ({"legs": 4}, "title", "legs: 4"),
    ],
)
def test_a_column_of_one_value_takes_the_one_value(value: object, name: str, text: str | None) -> None:
    assert cell_text(value, name) == text


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        ([["oak", "120 cm"], [], None], pa.list_(pa.string()), ["oak | 120 cm", "", None]),
        ([["oak", "120 cm"], None], pa.large_list(pa.large_string()), ["oak | 120 cm", None]),
        ([["oak", "120 cm"], None], pa.list_(pa.string(), 2), ["oak | 120 cm", None]),
        ([["oak", "120 cm"]], pa.list_view(pa.string()), ["oak | 120 cm"]),
        ([["oak", None]], pa.list_(pa.string()), ["oak"]),
        ([[1, 2]], pa.list_(pa.int64()), ["1 | 2"]),
        ([[["a"], ["b", "c"]]], pa.list_(pa.list_(pa.string())), ["a | b | c"]),
        ([["oak"]], pa.list_(pa.dictionary(pa.int8(), pa.string())), ["oak"]),
        (
            [{"color": "red", "legs": 4}, None],
            pa.struct({"color": pa.string(), "legs": pa.int8()}),
            ["color: red | legs: 4", None],
        ),
        ([[("color", "red")]], pa.map_(pa.string(), pa.string()), ["color: red"]),
        ([True, None], pa.bool_(), ["true", None]),
        ([datetime.date(2026, 1, 2)], pa.date32(), ["2026-01-02"]),
        ([decimal.Decimal("12.50")], pa.decimal128(5, 2), ["12.50"]),
        ([b"oak"], pa.binary(), ["oak"]),
        ([12.0, None, float("nan"), 1.5], pa.float64(), ["12", None, None, "1.5"]),
        ([2**64 - 1], pa.uint64(), ["18446744073709551615"]),
        (["oak"], pa.string_view(), ["oak"]),
        ([None], pa.null(), [None]),
        ([uuid.UUID(int=1).bytes], pa.uuid(), ["00000000-0000-0000-0000-000000000001"]),
    ],
    ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)
def test_every_arrow_type_becomes_text(values: list[Any], kind: pa.DataType, texts: list[str | None]) -> None:
    text, problems = column_text(pa.array(values, kind), "attributes")
    assert (text.to_pylist(), text.type, problems) == (texts, pa.string(), [])


def test_values_without_a_text_are_problems_of_their_row() -> None:
    ids, problems = column_text(pa.array([["1"], ["2", "3"]]), "product_id")
    assert ids.to_pylist() == ["1", None]
    assert problems == [(1, "product_id has the wrong type (list)", "\"['2', '3']\"")]
    text, problems = column_text(pa.array([[b"oak"], [b"caf\xe9"]]), "attributes")
    assert (text.to_pylist(), problems) == (["oak", None], [(1, "not UTF-8", "")])


def test_a_number_of_a_typed_file_never_looks_like_thousands() -> None:
    for values in (pa.array([1.234, 5.0]), pa.array([decimal.Decimal("1.234"), decimal.Decimal("5.000")])):
        text, _ = column_text(values, "price")
        assert text[0].as_py() == "1.2340"


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("['oak', '120 cm']", "oak | 120 cm"),
        ('["oak", "120 cm"]', "oak | 120 cm"),
        ("[['Home', 'Tables']]", "Home | Tables"),
        ("[{'name': 'color', 'value': \"red\"}]", "color: red"),
        ('{"color": "red"}', "color: red"),
        ('{"oak","beech"}', "beech | oak"),
        ("['3\\d glasses']", "3\\d glasses"),
    ],
)
def test_a_list_that_is_written_as_text_is_joined(cell: str, text: str) -> None:
    values, is_list_N = without_lists(pa.chunked_array([["oak", cell], [cell]]))
    assert values.to_pylist() == ["oak", text, text]
    assert is_list_N.tolist() == [False, True, True]


@pytest.mark.parametrize(
    "cell",
    [
        "[OEM] part [new]",
        "['oak",
        "[12]",
        "[]",
        "{}",
        "{size}",
        "['a' b]",
        "[" * 5_000 + "]",
        "['a', open('x')]",
    ],
)
def test_other_text_in_brackets_stays(cell: str) -> None:
    values, is_list_N = without_lists(pa.chunked_array([[cell]]))
    assert (values.to_pylist(), is_list_N.tolist()) == ([cell], [False])
