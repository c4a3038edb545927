"""Text of values that are no text: numbers, truth values, dates, lists and objects of JSONL and Parquet files.

    flat_text(["oak", "120 cm"])                     # "oak | 120 cm"
    flat_text([{"name": "color", "value": "red"}])   # "color: red"
    cell_text({"amount": 5, "currency": "EUR"}, "price")   # "5 EUR"
    column_text(pa.array([[1, 2], None]), "attributes")    # (["1 | 2", null], [])

A list in a column of one value, such as a price, is its element; an id of several values has no text.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.load_report import shorten

SEPARATOR = " | "
INNER_SEPARATOR = ", "  # between the values of one key
NUMBER_COLUMNS = ("price", "frequency")
# Columns of names: a brand, category or color that is an object, {"id": 7, "name": "Sofas"}, is its name.
NAME_COLUMNS = ("title", "brand", "category", "color", "query")
NAMED_KEYS = ("name", "title", "label", "value", "text")
# The keys of one property written as an object: {"name": "color", "value": "red"}, {"name": "Size", "options": ["S"]}.
NAME_KEYS = ("name", "key", "label", "k")
VALUE_KEYS = ("value", "values", "options", "option", "v")
UNIT_KEYS = ("unit", "units")
AMOUNT_KEYS = ("amount", "value", "price", "$numberDecimal", "$numberDouble", "$numberInt", "$numberLong")
CODE = re.compile("[A-Z]{3}")  # of a currency
CURRENCY_KEYS = ("currency", "currencyCode", "currency_code")
_WRITTEN_LIST = r"""^(\[\s*["'\[{].*["'\]}]\s*\]|\{\s*["'].*\})$"""
_THREE_DECIMALS = r"^(-?\d{1,3}\.\d{3})$"


def cell_text(value: object, name: str) -> str | None:
    """Text of a JSON value in our column `name`, "" for null; None for an id that is not one value.

    A number with three decimals gets a fourth in a column of numbers: "1.234" as text may mean 1,234.
    """
    name = name.rstrip("~")  # of a column that stands in
    if isinstance(value, dict) and len(value) == 1:
        value = _untyped(value)
    if name.endswith("_id"):
        return _id_text(value)
    if name not in NUMBER_COLUMNS:
        return flat_text(_names(value) if name in NAME_COLUMNS else value)
    value = _amount(value)
    text = flat_text(value)
    return re.sub(_THREE_DECIMALS, r"\g<1>0", text) if isinstance(value, float) else text


def flat_text(value: object, separator: str = SEPARATOR) -> str:
    """One line of text: lists joined, objects as "key: value", whole floats without decimals, null as ""."""
    # Ordered by how often a type occurs.
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e18 else repr(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return _object_text(value, separator)
    if isinstance(value, tuple) and len(value) == 2:  # an entry of a Parquet map
        return _property_text(*value)
    if isinstance(value, set):  # {"oak","beech"}, as PostgreSQL writes a list
        value = sorted(value, key=str)
    if isinstance(value, list):
        return separator.join(filter(None, (flat_text(item, separator) for item in value)))
    return str(value)


def column_text(values: pa.Array, name: str) -> tuple[pa.Array, list[tuple[int, str, str]]]:
    """A column of a typed file as text, null where it is null.

    Returns:
        (N,) strings, and (row, reason, value) of each value that has no text; its string is null.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    name, kind = name.rstrip("~"), values.type
    try:
        if pa.types.is_floating(kind):
            values = _float_text(values)
        if _is_list_of_text(kind) and not name.endswith("_id"):
            return _joined(values), []
        if _casts_to_text(kind):
            text = values.cast(pa.string())
            text.validate(full=True)
            return _four_decimals(text) if name in NUMBER_COLUMNS and _is_fraction(kind) else text, []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass  # text that is not UTF-8, lists with nulls in them, or a type without a cast
    return _each_text(values, name)


def without_lists(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, npt.NDArray[np.bool_]]:
    """Text cells that are lists or objects as JSON or Python writes them, "['oak', '120 cm']", as flat text.

    Returns:
        (N,) strings, and (N,) which of them were lists.
    """
    is_list_N = np.asarray(pc.match_substring_regex(values, _WRITTEN_LIST), bool)
    rows = np.flatnonzero(is_list_N)
    if not len(rows):
        return values, is_list_N
    texts = values.take(pa.array(rows)).to_pylist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that Python does not know
        joined = [_joined_list(text) for text in texts]
    is_list_N[rows] = [text is not None for text in joined]
    known = pa.array([text for text in joined if text is not None], pa.string())
    return pa.chunked_array([pc.replace_with_mask(values.combine_chunks(), pa.array(is_list_N), known)]), is_list_N


def _joined_list(text: str) -> str | None:
    """The items of a written list, joined; None where it is none or has none."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return flat_text(parse(text)) or None
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return None


def _float_text(values: pa.Array) -> pa.Array:
    """Whole numbers without decimals: pandas stores integers with missing values as floats, and "12.0" is no id."""
    values = pc.if_else(pc.is_nan(values), None, values.cast(pa.float64()))
    whole = pc.and_(pc.equal(values, pc.round(values)), pc.less(pc.abs(values), 1e18))
    whole_text = pc.if_else(whole, values, None).cast(pa.int64()).cast(pa.string())
    return pc.coalesce(whole_text, values.cast(pa.string()))


def _four_decimals(text: pa.Array) -> pa.Array:
    """Numbers of three decimals with a fourth: as text, "1.234" may mean 1,234."""
    return pc.replace_substring_regex(text, _THREE_DECIMALS, r"\10")


def _is_fraction(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _casts_to_text(kind: pa.DataType) -> bool:
    """Whether Arrow's cast gives the text that is meant: bytes may not be UTF-8, and a UUID is not its bytes."""
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    others = (pa.types.is_nested, pa.types.is_boolean, *binary)
    return not isinstance(kind, pa.BaseExtensionType) and not any(test(kind) for test in others)


def _is_list_of_text(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in lists) and any(test(kind.value_type) for test in texts)


def _joined(values: pa.Array) -> pa.Array:
    """Lists of text, joined; ArrowInvalid where a list holds a null, which `binary_join` cannot leave out."""
    lists = values.cast(pa.list_(pa.string()))
    if lists.flatten().null_count:
        raise pa.ArrowInvalid("a null in a list")
    text = pc.binary_join(lists, SEPARATOR)
    text.validate(full=True)
    return text


def _each_text(values: pa.Array, name: str) -> tuple[pa.Array, list[tuple[int, str, str]]]:
    """`column_text` value by value, for types without a vectorised form."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = values.cast(pa.large_binary())
    texts: list[str | None] = []
    problems = []
    for row, scalar in enumerate(values):
        try:
            value = scalar.as_py()
            text = None if value is None else cell_text(value, name)
            if text is None and value is not None:
                problems.append((row, f"{name} has the wrong type ({type(value).__name__})", shorten(value)))
        except UnicodeDecodeError:
            text = None
            problems.append((row, "not UTF-8", ""))
        texts.append(text)
    return pa.array(texts, pa.string()), problems


def _id_text(value: object) -> str | None:
    """A list of one value and an object of one key ({"$oid": "…"}) are that value."""
    while isinstance(value, list | dict) and len(value) == 1:
        (value,) = value.values() if isinstance(value, dict) else value
    return None if isinstance(value, list | dict) and value else flat_text(value)


def _untyped(value: object) -> object:
    """A value of DynamoDB's export without its types: "sofa" of {"S": "sofa"}; anything else as it is."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    ((kind, inner),) = value.items()
    if kind in ("S", "N") and isinstance(inner, str):
        return inner
    if kind in ("L", "SS", "NS") and isinstance(inner, list):
        return [_untyped(item) for item in inner]
    if kind == "M" and isinstance(inner, dict):
        return {key: _untyped(item) for key, item in inner.items()}
    return None if kind == "NULL" and inner is True else value


def _names(value: object) -> object:
    """The name of an object that has one, in a list too; of a text in several languages the first."""
    if isinstance(value, list):
        return [_names(item) for item in value]
    if not isinstance(value, dict) or not value:
        return value
    if all(re.fullmatch("[a-z]{2}([-_][A-Za-z]{2})?", key) for key in value):
        return next(iter(value.values()))
    name = next((value[key] for key in NAMED_KEYS if value.get(key)), None)
    return value if name is None else name


def _amount(value: object) -> object:
    """The amount and currency of a price given as an object; a list of one value is that value."""
    while isinstance(value, list) and len(value) == 1:
        (value,) = value
    if not isinstance(value, dict):
        return value
    if len(value) == 1:  # {"EUR": 5}, {"count": 5}
        ((key, only),) = value.items()
        return f"{flat_text(only)} {key}" if CODE.fullmatch(key) else only
    amount, currency = _first(value, AMOUNT_KEYS), _first(value, CURRENCY_KEYS)
    return value if amount is None else f"{flat_text(amount)} {flat_text(currency)}".strip()


def _first(value: dict[str, object], keys: tuple[str, ...]) -> object:
    """The value of the first of the keys that the object has, None if it has none."""
    return next((value[key] for key in keys if key in value), None)


def _object_text(value: dict[str, object], separator: str) -> str:
    named, unit = value.keys() & set(NAME_KEYS), value.keys() & set(UNIT_KEYS)
    if value.keys() & set(VALUE_KEYS) and (named or unit):
        text = _property_text(_first(value, NAME_KEYS), _first(value, VALUE_KEYS))
        return f"{text} {flat_text(_first(value, UNIT_KEYS))}".strip() if text else ""
    return separator.join(filter(None, (_property_text(key, item) for key, item in value.items())))


def _property_text(name: object, value: object) -> str:
    text = flat_text(value, INNER_SEPARATOR)
    return f"{flat_text(name)}: {text}" if text and name else text
