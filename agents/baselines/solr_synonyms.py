"""Synonym rules of Solr, Elasticsearch and OpenSearch: a rule a line.

    parse_rule("couch, sofa => settee")     # [("couch", ["settee"]), ("sofa", ["settee"])]
    parse_rule("couch, sofa")               # [("couch", ["sofa"]), ("sofa", ["couch"])]
    parse_rule("a => b => c")               # "more than one =>"

A line that begins with # is a comment; a backslash keeps the next character as it is ("1\\,000"). Two columns with a
tab between them, a word and its synonyms (several with | between them), are rules too.
"""

from __future__ import annotations

import re

from qr_env.shop.readers.chunks import Problem, excerpt
from qr_env.shop.readers.formats.opening.table_file import TableFile
from qr_env.shop.readers.formats.opening.undecoded import Undecoded
from qr_env.shop.readers.load_report import LoadReport

Entry = tuple[str, list[str]]  # a word or phrase, and its synonyms
_TOKEN = re.compile(r"\\.|=>|.", re.DOTALL)
QUERQY = "Querqy's rules are not read: write a, b => c"


def solr_entries(file: TableFile, report: LoadReport) -> list[Entry]:
    """The synonyms of all rules of a file.

    Raises:
        BadRowError: a line is no rule, and the report's options do not skip it.
    """
    undecoded = Undecoded(file)
    entries: list[Entry] = []
    problems: list[Problem] = []
    rows, alone = 0, []
    with file.text(newline=None) as handle:
        for number, line in enumerate(handle, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            rows += 1
            found = parse_rule(line.strip(" \r\n")) if _is_text(line) else undecoded.reason(line)
            if isinstance(found, str):
                problems.append((number, found, excerpt(line)))
            elif found:
                entries += found
            else:
                alone.append(number)
    path = str(file.path)
    report.rows[path], report.kept[path] = rows, rows - len(problems)
    if alone:
        report.note(
            f"{file.path.name}: lines without a comma or =>, which name no synonym: {len(alone):,} (line {alone[0]:,})"
        )
    if note := undecoded.note():
        report.note(note)
    report.add(path, problems)
    return entries


def parse_rule(line: str) -> list[Entry] | str:
    """The synonyms that a line gives, [] for a word alone; or the reason why it is no rule."""
    if "\t" in line and "=>" not in line:
        return _parse_columns(line)
    sides = _sides(line)
    if len(sides) > 2:
        return "more than one => (a comma or an arrow that is meant stands behind a backslash)"
    for words, where in zip(sides, ("before", "behind"), strict=False):
        if words == [""]:
            return f"nothing {where} => ({QUERQY})"
        if "" in words:
            return "an empty word between commas"
    from_words, to_words = sides[0], sides[-1]
    return [(word, others) for word in from_words if (others := [other for other in to_words if other != word])]


def _parse_columns(line: str) -> list[Entry] | str:
    word, *cells = (cell.strip() for cell in line.split("\t"))
    synonyms = [text for cell in cells for text in split_synonyms(cell)]
    if not word or not synonyms:
        return "a tab without a word before and behind it"
    return [(word, synonyms)]


def split_synonyms(cell: str) -> list[str]:
    """The synonyms of a cell: with | between them, else with commas or semicolons."""
    return [text.strip() for text in re.split(r"\|" if "|" in cell else "[,;]", cell) if text.strip()]


def _sides(line: str) -> list[list[str]]:
    """The words on each side of the arrows, unescaped and trimmed."""
    sides = [[""]]
    for token in _TOKEN.findall(line):
        if token == "=>":
            sides.append([""])
        elif token == ",":
            sides[-1].append("")
        else:
            sides[-1][-1] += token[-1] if token.startswith("\\") and len(token) == 2 else token
    return [[word.strip() for word in words] for words in sides]


def _is_text(line: str) -> bool:
    """Whether all bytes of the line could be decoded."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True
