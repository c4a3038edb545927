"""The columns that a table may have, and the names under which files have them.

    Spec("products", (Column("title", ("name",), required=True, filled=True),), key="product_id")

The tables of a shop are in `tables.py`; `matching.py` finds out which column of a file is which.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

TITLE_LIMIT = 2_000  # characters; the longest real title in ESCI, WANDS and Icecat is under 1,000
TEXT_LIMIT = 100_000  # characters, for descriptions and attributes
_IN_CURRENCY = re.compile(
    "(?<=[a-z])(_in)?_(usd|eur|euro|gbp|chf|cad|aud|nzd|jpy|inr|cny|krw|brl|mxn|sek|nok|dkk|pln|czk|huf|ron|rub|zar|sgd)$"
)


@dataclass(frozen=True)
class Column:
    """One column of a table and the rules for its values. Names of files' columns are in the form of `plain_name`."""

    name: str
    """Our name."""
    aliases: tuple[str, ...] = ()
    """Other names that it may have in a file, the best first."""
    required: bool = False
    """Whether the file must have it."""
    filled: bool = False
    """Whether every row must have a value."""
    kind: str = "text"
    """"text", "price", "frequency", "time", or a key of `WORDS` ("split", "source")."""
    clean: Literal["", "entities", "markup"] = ""
    """What is taken out of its text beside characters that cannot be seen: HTML entities, or tags as well."""
    limit: int = TITLE_LIMIT
    """Maximum length in characters."""
    empty: str = ""
    """Reason reported for an empty value; "" gives "missing NAME"."""
    fills: tuple[tuple[str, str], ...] = ()
    """(name taken, further name): where the column taken is empty, the further column's value stands in. The name
    taken is "" where the file has no column of its own for this one."""
    unless: tuple[tuple[str, str], ...] = ()
    """(alias, neighbour): in a file with the column `neighbour`, `alias` means something else and is not taken."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names that are accepted, the best first."""
        return self.name, *self.aliases


@dataclass(frozen=True)
class Spec:
    """The columns of a table."""

    what: str
    """Name of the table."""
    columns: tuple[Column, ...]
    """Known columns."""
    key: str = ""
    """Column whose values must be unique; "" for none."""
    parents: tuple[str, ...] = ()
    """Names of a column which says, where it is filled, that the row is part of another row's product."""
    groups: tuple[str, ...] = ()
    """Names of the key's column in exports that give a product several rows: a row that repeats a key is part of it."""
    views: tuple[str, ...] = ()
    """Names of a column for the shop's view, language or store: a row that repeats a key is the product in another."""
    kinds: tuple[str, ...] = ()
    """Names of a column which says what a row is: a product, or a variant, an image or a rule of one."""
    totals: str = ""
    """Column in which web analytics label rows of totals, see `totals.py`; "" for none."""


def plain_name(name: str) -> str:
    """A column's name without case, accents, punctuation and what feeds, engines and their reports put around it.

    >>> [plain_name(name) for name in ("Body (HTML)", "productId", "g:sale_price", "_source.title", "_id", "Größe")]
    ['body_html', 'product_id', 'sale_price', 'title', '_id', 'große']
    """
    text = re.sub(r"^(g:|_source\.|fields\.|doc\.|product\.|item\.)", "", name.strip())
    text = re.sub(r"(?i)^(last \d+ (hours|days|months) |top( \d+)? values of )|\.keyword\b|: (de|a)scending$", "", text)
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
    text = re.sub("(?<=[a-z])[\u0300-\u036f]+", "", unicodedata.normalize("NFKD", text))  # of Latin letters
    text = re.sub(r"[\W_]+", "_", unicodedata.normalize("NFC", text))
    hidden = name.strip().startswith("_") and text.startswith("_")
    return f"_{text.strip('_')}" if hidden else text.strip("_")


def bare_name(name: str) -> str:
    """`plain_name` without brackets and a currency at its end: "price" for "Price [$]", "price_eur", "Price in EUR"."""
    return _IN_CURRENCY.sub("", plain_name(re.sub(r"\(.*?\)|\[.*?\]", " ", name)))
