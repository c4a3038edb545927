"""Read TREC qrels, `query_id iteration product_id grade`, and LETOR's lines, `grade qid:query_id 1:0.5 # product_id`.

rows = trec_rows(open_table(Path("qrels.trec")), lambda header: {name: name for name in header})
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from qr_env.shop.readers.chunks import Naming, Row, excerpt
from qr_env.shop.readers.formats.opening.table_file import TableFile
from qr_env.shop.readers.formats.row_block import in_blocks

WIDTH = 4  # fields of a line
SUFFIXES = (".trec", ".qrels")
LINE = re.compile(r"^\S+\s+\w+\s+\S+\s+-?\d+(\.\d+)?\s*$")  # the grade is a number, which no header has
LETOR_START = re.compile(r"^-?\d+(\.\d+)?\s+qid:\S+(\s|$)")
LETOR = re.compile(r"^(-?\d+(?:\.\d+)?)\s+qid:(\S+)\s(?:[^#]*)#\s*(\S+)\s*(.*?)\s*$")


def is_trec(file: TableFile) -> bool:
    """Whether a file has TREC's lines: by its suffix, or because the first and most of the next lines are such."""
    if file.suffix in SUFFIXES:
        return True
    with file.text(newline=None) as handle:
        found = [
            LINE.match(line) is not None or LETOR_START.match(line) is not None
            for line in islice(handle, 50)
            if line.strip()
        ]
    return bool(found) and found[0] and found.count(True) > 0.5 * len(found)


def trec_rows(file: TableFile, naming: Naming) -> Iterator[Any]:
    """First our column names, then blocks of rows, invalid ones with their reason."""
    with file.text(newline=None) as handle:
        first = next((line for line in handle if line.strip()), "")
        of_letor = LETOR_START.match(first) is not None
    header = ["query_id", "product_id", "grade", *(["query"] if of_letor else [])]
    names = naming(header)
    yield [names[name] for name in header]
    with file.text(newline=None) as handle:
        if of_letor:
            yield from in_blocks(_letor_row(n, line) for n, line in enumerate(handle, start=1) if line.strip())
            return
        yield from in_blocks(_row(number, line) for number, line in enumerate(handle, start=1) if line.strip())


def _row(number: int, line: str) -> Row:
    fields = line.split()
    if len(fields) == WIDTH:
        return number, [fields[0], fields[2], fields[3]], ""
    return number, f"ragged row ({len(fields)} fields, a TREC qrels line has {WIDTH})", excerpt(line)


def _letor_row(number: int, line: str) -> Row:
    """A line of LETOR with the product behind "#", as Quepid exports it, and the text of the query behind that."""
    found = LETOR.match(line)
    if found is None:
        return number, "no line of LETOR with its product (grade qid:query_id … # product_id)", excerpt(line)
    grade, query_id, product_id, query = found.groups()
    return number, [query_id, product_id, grade, query], ""
