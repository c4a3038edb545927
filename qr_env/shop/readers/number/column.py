"""Numbers as people write them: currencies, decimal commas, thousands points. One format is decided for a whole column.

    column = read_numbers(pa.chunked_array([["1.299,00 €", "3,50", "899", "call us"]]))
    column.values          # [1299.0, 3.5, 899.0, null]
    column.unknown_N       # [False, False, False, True]
    column.rule            # "a comma is the decimal mark"

A cell with one mark and three digits behind it, "1.234", can mean 1234 or 1.234. The clear cells of the column decide:
"3,50", "1.234.567" and "1.299,00" show a decimal comma, "3.50", "0.125" and "1,299.00" a decimal point.

- Nine tenths of the clear cells agree: their format.
- There is no clear cell: the mark separates thousands, since few columns have three decimals in every cell.
- Otherwise, or where "1.234" and "1,234" occur without a clear cell: such cells are unknown.

A clear cell of the other format ("3,50" in a column of decimal points) is read by its own mark.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.cells import Mask
from qr_env.shop.readers.number.currencies import CURRENCY, REMARK, THREE_DECIMALS

EMPTY = ("", "nan", "none", "null", "n/a", "na", "#n/a", "<na>", "-", "–", "—", "\\n")
MAJORITY = 0.9  # of the clear cells
POINT, COMMA = "a point is the decimal mark", "a comma is the decimal mark"
THOUSANDS, UNDECIDED = (
    "marks with three digits behind them separate thousands",
    "no decimal mark is common to the column",
)
_PLAIN = r"^\d{1,15}(\.\d{1,2})?$"
# Marks, spaces and digits of other scripts.
_ASCII = str.maketrans(
    "٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹０１２３４５６７８９٫٬．，’‘´ʼ−–—\u00a0\u202f\u2009\u2007\u3000",
    "012345678901234567890123456789.,.,''''---     ",
)
# Forms of a number with a decimal point; those with a comma have the marks exchanged.
_CLEAR = "|".join(
    (
        r"\d{0,30}\.(\d{1,2}|\d{4,30})",  # 3.50, .5, 1.2345
        r"(0+|\d{4,30})?\.\d{3}",  # 0.125, 1234.567
        r"\d{1,30}\.",  # 5.
        r"\d{1,3}(,\d{3}){1,9}\.\d{0,9}",  # 1,299.00
        r"\d{1,3}(,\d{3}){2,9}",  # 1,234,567
        r"\d{1,2}(,\d{2}){1,9},\d{3}(\.\d{0,9})?",  # 1,00,000.00, as in India
        r"\d{1,3}( \d{3}){1,9}\.\d{1,9}|\d{1,3}('\d{3}){1,9}\.\d{1,9}",  # 1 299.00, 1'299.00
        r"\d{1,9}\.\d{1,30}e[+-]?\d{1,2}",  # 1.5e+05
    )
)
_WHOLE = r"^(\d{1,30}|\d{1,3}( \d{3})+|\d{1,3}('\d{3})+|\d+e[+-]?\d{1,2})$"
_OPEN = r"^[1-9]\d{0,2}\.\d{3}$"  # 1.234


@dataclass(frozen=True)
class NumberColumn:
    """The numbers of a column of N cells."""

    values: pa.Array
    """(N,) float64, null where empty or unknown."""
    unknown_N: Mask
    """(N,) the cell has a text without a certain meaning as a number ≥ 0."""
    empty_N: Mask
    """(N,) the cell has no value."""
    currency_N: Mask
    """(N,) the cell is a number with the name of a currency."""
    marked_N: Mask
    """(N,) the cell has marks that the rule gives their meaning."""
    other_N: Mask
    """(N,) the cell is clearly of the other format, and read by its own mark."""
    rule: str = ""
    """`POINT`, `COMMA`, `THOUSANDS` or `UNDECIDED`; "" for plain numbers."""


def read_numbers(values: pa.ChunkedArray, counts: bool = False) -> NumberColumn:
    """Decide the format of a column and read its numbers.

    Args:
        values: (N,) trimmed strings of the whole file, without nulls.
        counts: "1.2k" and "1,000+" are numbers too.
    """
    plain_N = _matches(values, _PLAIN)
    plain = values.filter(pa.array(plain_N))
    odd = values.filter(pa.array(~plain_N)).combine_chunks()
    numbers_N = np.full(len(values), np.nan)
    numbers_N[plain_N] = plain.cast(pa.float64()).to_numpy()
    text, currency_M, three_M = _bare(odd, counts)
    forms = _Forms.of(text)
    rule = forms.rule(int(np.count_nonzero(_matches(plain, r"\."))), three_M)
    numbers_M, other_M = forms.read(rule, three_M)
    numbers_N[~plain_N] = numbers_M
    empty_M = np.asarray(pc.is_in(pc.utf8_lower(odd), pa.array(EMPTY)), bool)
    unknown_M = np.isnan(numbers_M) & ~empty_M
    return NumberColumn(
        values=pa.array(numbers_N, from_pandas=True),
        unknown_N=_spread(~plain_N, unknown_M),
        empty_N=_spread(~plain_N, empty_M),
        currency_N=_spread(~plain_N, currency_M & ~np.isnan(numbers_M)),
        marked_N=_spread(~plain_N, forms.marked_M),
        other_N=_spread(~plain_N, other_M),
        rule=rule,
    )


@dataclass(frozen=True)
class _Forms:
    """Which form each of M cells has."""

    text: pa.Array
    """(M,) cells without currencies and signs."""
    swapped: pa.Array
    """(M,) the same, points and commas exchanged."""
    whole_M: Mask
    """(M,) no point and no comma."""
    point_M: Mask
    """(M,) clearly a decimal point, or commas between thousands."""
    comma_M: Mask
    """(M,) clearly a decimal comma, or points between thousands."""
    open_point_M: Mask
    """(M,) "1.234"."""
    open_comma_M: Mask
    """(M,) "1,234"."""

    @classmethod
    def of(cls, text: pa.Array) -> _Forms:
        """The forms of bare text."""
        swapped = pc.replace_substring(text, ",", "\0")
        swapped = pc.replace_substring(pc.replace_substring(swapped, ".", ","), "\0", ".")
        clear = rf"^({_CLEAR})$"
        masks = ((text, _WHOLE), (text, clear), (swapped, clear), (text, _OPEN), (swapped, _OPEN))
        return cls(text, swapped, *(_matches(values, pattern) for values, pattern in masks))

    @property
    def marked_M(self) -> Mask:
        """(M,) cells with a point or a comma."""
        return self.point_M | self.comma_M | self.open_point_M | self.open_comma_M

    def rule(self, plain_points: int, three_M: Mask) -> str:
        """The format that the clear cells agree on; `three_M` are prices of three decimals."""
        points = plain_points + int(np.count_nonzero(self.point_M | self.open_point_M & three_M))
        commas = int(np.count_nonzero(self.comma_M | self.open_comma_M & three_M))
        if not self.marked_M.any():
            return ""
        if points + commas == 0:
            return UNDECIDED if self.open_point_M.any() and self.open_comma_M.any() else THOUSANDS
        if max(points, commas) < MAJORITY * (points + commas):
            return UNDECIDED
        return POINT if points > commas else COMMA

    def read(self, rule: str, three_M: Mask) -> tuple[npt.NDArray[np.float64], Mask]:
        """(M,) the numbers, NaN where unknown, and (M,) whether a cell is clearly of the other format."""
        open_M = self.open_point_M | self.open_comma_M
        by_comma_M = self.comma_M | self.open_comma_M & three_M
        by_comma_M |= open_M & ~three_M & ((rule == COMMA) | (rule == THOUSANDS) & self.open_point_M)
        known_M = self.whole_M | self.point_M | self.comma_M | open_M & (three_M | (rule != UNDECIDED))
        text = pc.if_else(pa.array(by_comma_M), self.swapped, self.text)
        text = pc.replace_substring_regex(
            pc.if_else(pa.array(known_M), text, pa.scalar(None, pa.string())), "[ ',]", ""
        )
        other_M = {POINT: self.comma_M, COMMA: self.point_M}.get(rule, np.zeros(len(known_M), bool))
        return text.cast(pa.float64()).to_numpy(zero_copy_only=False), other_M


def _bare(odd: pa.Array, counts: bool) -> tuple[pa.Array, Mask, Mask]:
    """(M,) text without currencies, (M,) whether there was one, (M,) whether its prices have three decimals."""
    text = pc.utf8_lower(odd)
    foreign_M = ~np.asarray(pc.string_is_ascii(text), bool)
    if foreign_M.any():
        plain = [cell.translate(_ASCII) for cell in text.filter(pa.array(foreign_M)).to_pylist()]
        text = pc.replace_with_mask(text, pa.array(foreign_M), pa.array(plain, pa.string()))
    if counts:
        return _counts(text), np.zeros(len(text), bool), np.zeros(len(text), bool)
    text = pc.replace_substring_regex(pc.replace_substring_regex(text, REMARK, ""), r"^'(\d)", r"\1")
    bare = pc.replace_substring_regex(text, rf"^([-+]?) ?{CURRENCY} ?", r"\1")
    bare = pc.replace_substring_regex(bare, rf" ?{CURRENCY}$", "")
    currency_M = np.asarray(pc.not_equal(bare, text), bool)
    bare = pc.replace_substring_regex(bare, r"^\+|([.,:]-{1,2}|/-)$", "")  # 5,- and 1 299:- and 500/-
    return bare, currency_M, currency_M & _matches(text, rf"({THREE_DECIMALS})")


def _counts(text: pa.Array) -> pa.Array:
    """Counts with "k" and "m" as exponents, "+" left out."""
    text = pc.replace_substring_regex(text, r"\+$", "")
    for letter, exponent in (("k", "3"), ("m", "6")):
        text = pc.replace_substring_regex(text, rf"^(\d+(?:[.,]\d{{1,2}})?) ?{letter}$", rf"\1e{exponent}")
    return text


def _matches(values: pa.Array | pa.ChunkedArray, pattern: str) -> Mask:
    return np.asarray(pc.match_substring_regex(values, pattern), bool)


def _spread(places_N: Mask, mask_M: Mask) -> Mask:
    """(N,) the mask of the M cells at `places_N`, False elsewhere."""
    mask_N = np.zeros(len(places_N), bool)
    mask_N[places_N] = mask_M
    return mask_N
