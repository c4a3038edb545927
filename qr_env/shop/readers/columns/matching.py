"""Which column of a file is which, said in one line a file.

    matching = Matching(Path("products.csv"), PRODUCTS)
    matching.match(["Handle", "Title", "Vendor", "Tags"])
    matching.names      # {"Handle": "product_id", "Title": "title", "Vendor": "brand"}
    matching.summary()  # "products.csv: product_id ← Handle, title ← Title, brand ← Vendor; not used: Tags"

The rule: our own name first, then the aliases in their order; what fits worse is left. A column that fills the empty
cells of another, or tells which rows are parts of a product, is read under a hidden name ("product_id~", "parent~").
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from qr_env.common.errors import DataError
from qr_env.shop.readers.columns.property_pairs import find_pairs, pair_texts
from qr_env.shop.readers.columns.spec import Column, Spec, bare_name, plain_name
from qr_env.shop.readers.load_report import shorten

PARENT = "parent~"
OTHER_ID = "product_id~"  # of a column that stands in for empty ids; parents are named by it too
KIND = "kind~"
KEPT = (PARENT, OTHER_ID, KIND)
SHOWN = 30  # unused columns named in the line
ATTRIBUTES = "attributes"
TITLE_OF_TEXT = 200  # characters of a text that stand in for a missing title
DATA = re.compile(r"[\d.,:/+TZ -]*\d[\d.,:/+TZ -]*")  # a number, a price, a day or a time: no name of a column
SEPARATOR = re.compile(r"^\w+([\^~: \x01!/§¦#])\w+(\1\w+)*$")  # of a header that is one cell
ALIKE = 0.8  # difflib's ratio from which a name is said to be like another


@dataclass
class Matching:
    """The columns of one file that are read."""

    path: Path
    """The file."""
    spec: Spec
    """The columns that it may have."""
    header: list[str] = field(default_factory=list)
    """The columns that it has."""
    names: dict[str, str] = field(default_factory=dict)
    """Column of the file → our name, or a hidden one that ends in "~"."""
    fills: dict[str, str] = field(default_factory=dict)
    """Our name → the name, ours or hidden, of the column that stands in where it is empty."""
    pairs: list[tuple[str, str]] = field(default_factory=list)
    """Columns of the file with the name and the value of a property; they are the attributes of a product."""
    grouped: bool = False
    """Whether rows that repeat a key are parts of one product."""
    filled: Counter[str] = field(default_factory=Counter)
    """Our name → number of cells that another column filled."""

    def match(self, header: list[str]) -> dict[str, str]:
        """Find the columns in a file's header; returns `names`. A second call forgets the first.

        Raises:
            DataError: a required column is missing, or a column that is used occurs twice.
        """
        self.header, self.names, self.fills, self.pairs = header, {}, {}, []
        places = _places(header)
        chosen = {column.name: self._choose(column, places) for column in self.spec.columns}
        for column in self.spec.columns:
            self._find_fill(column, chosen[column.name], places)
            if column.required and not chosen[column.name] and column.name not in self.fills:
                raise DataError(
                    _missing(self.path, [name for name in header if name not in self.names], header, column)
                )
        self.grouped = bool(self.spec.key) and chosen[self.spec.key] in self.spec.groups
        self.grouped |= any(name in places for name in self.spec.views)
        for hidden, names in ((PARENT, self.spec.parents), (KIND, self.spec.kinds)):
            place = next((places[name][0] for name in names if name in places), None)
            if place is not None:
                self.names.setdefault(header[place], hidden)
        if ATTRIBUTES in chosen and not chosen[ATTRIBUTES]:
            self.pairs = find_pairs(header)
            self.names |= {name: f"{name}~" for pair in self.pairs for name in pair}
        return self.names

    def fill(self, columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
        """Fill empty cells of a chunk's columns of text, (N,) each, from the columns that stand in."""
        for name, other in self.fills.items():
            instead = pc.fill_null(columns[other], "")
            if name == "title":
                instead = pc.utf8_slice_codeunits(instead, 0, TITLE_OF_TEXT)
            own = pc.fill_null(columns[name], "") if name in columns else pa.array([""] * len(instead), pa.string())
            empty = pc.equal(pc.utf8_trim_whitespace(own), "")
            columns = columns | {name: pc.if_else(empty, instead, own)}
            self.filled[name] += pc.sum(pc.and_(empty, pc.not_equal(instead, ""))).as_py() or 0
        if self.pairs:
            texts = pair_texts([(columns[f"{name}~"], columns[f"{value}~"]) for name, value in self.pairs])
            columns = columns | {ATTRIBUTES: texts}
        return {name: values for name, values in columns.items() if not name.endswith("~") or name in KEPT}

    def summary(self) -> str:
        """What was taken for what and what was left, in one line; "" if all columns have our names."""
        taken = [self._taken(column.name) for column in self.spec.columns if column.name in self._ours()]
        taken += [f"{name.strip('~')} ← {self._source(name)}" for name in (PARENT, KIND) if name in self._ours()]
        taken += [f"{ATTRIBUTES} ← {', '.join(value for _, value in self.pairs)} by name"] if self.pairs else []
        left = [file for file in self.header if file not in self.names and file.strip()]
        if not left and not self.fills and all(file == ours for file, ours in self.names.items()):
            return ""
        text = f"{self.path.name}: {', '.join(taken)}"
        if left:
            more = f" and {len(left) - SHOWN:,} more" if len(left) > SHOWN else ""
            text += f"; not used: {', '.join(self._hinted(name) for name in left[:SHOWN])}{more}"
            text += self._uncounted()
        return text

    def filled_note(self) -> str:
        """How many cells another column filled; "" if none."""
        filled = {name: count for name, count in self.filled.items() if count}
        counts = [f"{count:,} of {name} from {self._source(self.fills[name])}" for name, count in filled.items()]
        text = f"{self.path.name}: empty cells filled: {', '.join(counts)}"
        return text if counts else ""

    def _uncounted(self) -> str:
        """That no column counts searches, in a file whose rows could have a frequency; else ""."""
        counted = any(column.kind == "frequency" and column.name not in self._ours() for column in self.spec.columns)
        return "; no column says how often a query was searched, so each row counts as one search" if counted else ""

    def _choose(self, column: Column, places: dict[str, list[int]]) -> str:
        """Enter the file's column for one of ours; returns the name under which it was found, "" if there is none."""
        barred = {alias for alias, neighbour in column.unless if neighbour in places}
        for name in column.names:
            if name not in places or name in barred or self.header[places[name][0]] in self.names:
                continue
            if len(places[name]) > 1:
                raise DataError(
                    f"{self.path}: the column {name!r} occurs {len(places[name])} times: {self.header}; rename those "
                    "that are not meant"
                )
            self.names[self.header[places[name][0]]] = column.name
            return name
        return ""

    def _find_fill(self, column: Column, chosen: str, places: dict[str, list[int]]) -> None:
        for taken, other in column.fills:
            if chosen == taken and other in places and column.name not in self.fills:
                file = self.header[places[other][0]]
                self.fills[column.name] = self.names.setdefault(file, f"{column.name}~")

    def _ours(self) -> set[str]:
        """Our names of the columns that the file gives, by a column of its own or by one that stands in."""
        return {*self.names.values(), *self.fills}

    def _taken(self, name: str) -> str:
        """What one of our columns is read from: "price", "title ← Name", "product_id ← ID, else SKU"."""
        files = [file for file, ours in self.names.items() if ours == name]
        files += [self._source(self.fills[name])] if name in self.fills else []
        return name if files == [name] else f"{name} ← {', else '.join(files)}"

    def _source(self, name: str) -> str:
        return next(file for file, ours in self.names.items() if ours == name)

    def _hinted(self, name: str) -> str:
        """The column's name; with the name of a missing column that it is alike but for a typing error."""
        missing = [column.name for column in self.spec.columns if column.name not in self._ours()]
        alike = difflib.get_close_matches(plain_name(name), missing, 1, ALIKE)
        return f"{name} (is it {alike[0]!r}? Then rename it)" if alike else name


def _places(header: list[str]) -> dict[str, list[int]]:
    """Plain name → its places in the header; a name without its brackets counts where no other column has it."""
    places: dict[str, list[int]] = {}
    for at, name in enumerate(header):
        places.setdefault(plain_name(name), []).append(at)
    for at, name in enumerate(header):
        places.setdefault(bare_name(name), [at])
    return places


def _missing(path: Path, left: list[str], header: list[str], column: Column) -> str:
    """The message for a required column that the header lacks: the header, names alike, and what is accepted.

    left: columns that are not taken for another of ours.
    """
    alike = [f"{name!r} is like {near!r}" for name in left if (near := _alike(plain_name(name), column))]
    shown = ", ".join(shorten(name, 40) for name in header[:SHOWN]) + (", …" if len(header) > SHOWN else "")
    text = f"{path}: no column for {column.name!r} among [{shown}]"
    if alike:
        text += f"; {', '.join(alike)}: rename it"
    if len(header) == 1 and (mark := SEPARATOR.search(header[0])):
        name = "spaces" if mark[1].isspace() else repr(mark[1])
        text += f"; if {name} separate its columns, put the line sep={mark[1]} above it"
    if any(DATA.fullmatch(name.strip()) for name in header):
        text += "; the first line looks like data: put a line with the columns' names above it"
    elif len(header) == len(left) == 1 and not alike and column.name == "query":
        text += f"; if the first line is data, put a line {column.name!r} above it"
    return f"{text}; accepted names are {', '.join(column.names)}"


def _alike(name: str, column: Column) -> str:
    """The accepted name that a plain name is like, our own before the aliases; "" if there is none."""
    own = difflib.get_close_matches(name, [column.name], 1, ALIKE)
    return next(iter(own or difflib.get_close_matches(name, column.aliases, 1, ALIKE)), "")
