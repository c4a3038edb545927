"""Numbers as people write them: one format a column, and a cell without a certain meaning is unknown."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from qr_env.shop.readers.number.column import COMMA, POINT, THOUSANDS, UNDECIDED, NumberColumn, read_numbers


def read(*cells: str, counts: bool = False) -> NumberColumn:
    return read_numbers(pa.chunked_array([list(cells)], pa.string()), counts)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *(("5", 5), ("5.5", 5.5), ("0.125", 0.125), (".5", 0.5), ("5.", 5), ("1e3", 1000), ("1.5E+05", 150_000)),
        *(("199.00 USD", 199), ("EUR 5", 5), ("$5", 5), ("US$ 5.00", 5), ("£1,299.00", 1299), ("16,50 €", 16.5)),
        *(("3,50", 3.5), ("1.299,00", 1299), ("1 299,00 €", 1299), ("1 299 kr", 1299), ("1'299.00", 1299)),
        *(("1\u202f299,50", 1299.5), ("1\u00a0299", 1299), ("CHF 1’299.—", 1299), ("CHF 5.–", 5), ("5,- €", 5)),
        *(("1 299:-", 1299), ("R$ 1.234,56", 1234.56), ("₹1,00,000.00", 100_000), ("Rs. 1,00,000", 100_000)),
        *(("1.234.567", 1_234_567), ("1,234,567", 1_234_567), ("１２９９円", 1299), ("٣٤", 34), ("1.250 KWD", 1.25)),
        *(
            ("499 Kč", 499),
            ("12,99 zł", 12.99),
            ("1 990 ₽", 1990),
            ("usd 7", 7),
            ("RMB 7", 7),
            ("7 euros", 7),
            ("Euro 7", 7),
            ("KRW 700", 700),
            ("+5", 5),
            ("0", 0),
        ),
        *(("call us", None), ("5 - 9", None), ("from 5 €", None), ("-5", None), ("-$5", None), ("(5.00)", None)),
        *(("12%", None), ("inf", None), ("1e400", None), ("0x10", None), ("5⁹⁹ €", None), ("1 29", None)),
        *(("1.2.3", None), ("1,2,3", None), ("$", None), (".", None), ("5 pcs", None), ("9" * 40, None)),
    ],
)
def test_one_cell(cell: str, value: float | None) -> None:
    column = read(cell)
    assert column.values.to_pylist() == [value]
    assert column.unknown_N.tolist() == [value is None]


@pytest.mark.parametrize("cell", ["", "nan", "None", "NULL", "N/A", "#N/A", "-", "\\N"])
def test_words_for_nothing_are_empty(cell: str) -> None:
    column = read(cell, "5")
    assert column.values.to_pylist() == [None, 5]
    assert column.empty_N.tolist() == [True, False]
    assert not column.unknown_N.any()


@pytest.mark.parametrize(
    ("cells", "values", "rule"),
    [
        (("1.234", "899", "12.345"), (1234, 899, 12345), THOUSANDS),
        (("1,234", "899", "12,345"), (1234, 899, 12345), THOUSANDS),
        (("1.234", "12.5"), (1.234, 12.5), POINT),
        (("1.234", "12,5"), (1234, 12.5), COMMA),
        (("1,234", "12.50"), (1234, 12.5), POINT),
        (("1,234", "12,50"), (1.234, 12.5), COMMA),
        (("1,234", "0,125"), (1.234, 0.125), COMMA),
        (("1.234", "1.234.567"), (1234, 1_234_567), COMMA),
        (("1.234", "1,234"), (None, None), UNDECIDED),
        (("1.234", "3,50", "3.50"), (None, 3.5, 3.5), UNDECIDED),
        (("1.250 KWD", "2.500 KWD", "1.750"), (1.25, 2.5, 1.75), POINT),
        (("899", "1 299"), (899, 1299), ""),
    ],
)
def test_the_clear_cells_decide_for_the_column(
    cells: tuple[str, ...], values: tuple[float | None, ...], rule: str
) -> None:
    column = read(*cells)
    assert tuple(column.values.to_pylist()) == values
    assert column.rule == rule


def test_a_few_cells_of_the_other_format_are_read_by_their_own_mark_and_change_no_other() -> None:
    column = read(*["12.50"] * 20, "3,50", "1,299")
    assert column.values.to_pylist()[20:] == [3.5, 1299]
    assert np.flatnonzero(column.other_N).tolist() == [20]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1.2K", 1200),
        ("1,2k", 1200),
        ("2M", 2_000_000),
        ("1,000+", 1000),
        ("<10", None),
        ("1K – 10K", None),
        ("$5", None),
    ],
)
def test_counts(cell: str, value: float | None) -> None:
    assert read(cell, counts=True).values.to_pylist() == [value]


def test_an_empty_column_and_several_chunks() -> None:
    assert len(read_numbers(pa.chunked_array([], pa.string())).values) == 0
    cells = pa.chunked_array([["1.234"], ["", "x"], [], ["2,5"]], pa.string())
    assert read_numbers(cells).values.to_pylist() == [1234, None, None, 2.5]


def test_a_word_that_begins_like_a_currency_is_none() -> None:
    column = read("Free", "fr 5", "kr")
    assert column.values.to_pylist() == [None, 5, None]
    assert column.currency_N.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12,99 € / Stk.", 12.99),
        ("3,99 €/Stück", 3.99),
        ("£12.99 inc VAT", 12.99),
        ("£3.00 (ex. VAT)", 3),
        ("￥1,980（税込）", 1980),
        ("$5.00 each", 5),
        ("د.إ 1,050.00", 1050),
        ("'5.00", 5),
        ("99¢", None),
        ("12,99 €/kg", None),
        ("from $5", None),
    ],
)
def test_remarks_beside_a_price(cell: str, value: float | None) -> None:
    assert read(cell).values.to_pylist() == [value]
