"""Dictionaries of synonyms: WordNet, MyThes thesauri, rules of Solr, and tables.

    read_dictionary(dictionary_file("synonyms.txt"), LoadReport())     # [("couch", ["sofa", "lounge"]), …]

- WordNet's folder: its `data.noun` and `data.adj` (WNDB(5WN));
- a MyThes thesaurus (`th_en_US_v2.dat`);
- rules of Solr, Elasticsearch and OpenSearch, a line each (`solr_synonyms.py`): .txt, .csv, .tsv;
- a table with a header, columns word and synonyms (several with | between them, or a list), in any format of products;
  without the column word each cell of synonyms is a rule of Solr, as Elasticsearch's synonym sets have them.

This package ships no dictionary: no maintained PyPI package has one, and the data has its own licences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from agents.baselines.solr_synonyms import Entry, parse_rule, solr_entries, split_synonyms
from qr_env.common.errors import ConfigError, DataError
from qr_env.shop.readers.chunks import Problem
from qr_env.shop.readers.columns.spec import TEXT_LIMIT, Column, Spec, plain_name
from qr_env.shop.readers.formats.opening.table_file import TableFile, open_table
from qr_env.shop.readers.load_report import LoadReport, shorten
from qr_env.shop.readers.rows import checked_table

DEFAULT_PATHS = (Path("/usr/share/wordnet"), Path("/usr/share/mythes/th_en_US_v2.dat"))
# Nouns and adjectives only, since queries name things: the verb "settle" has the synonyms "nail down" and "make up".
WORDNET_FILES = ("data.noun", "data.adj")
MYTHES_PARTS = ("(noun)", "(adj)")
_REMARK = re.compile(r"\s*\([^)]*\)")  # "(generic term)" of MyThes, "(a)" of WordNet's adjectives
_SYNONYMS = ("synonym", "synonym_list", "replacement", "replacements", "corrections", "expansion", "expansions")
SYNONYMS = Spec(
    "synonyms",
    (
        Column("word", ("term", "phrase", "input", "query", "keyword", "from", "source")),
        Column("synonyms", (*_SYNONYMS, "to", "target"), required=True, filled=True, limit=TEXT_LIMIT),
    ),
)
TEXT_SUFFIXES = (".txt", ".csv", ".tsv", ".tab")


def dictionary_file(file: str | Path | None) -> Path:
    """The named dictionary, else the first of `DEFAULT_PATHS` that exists."""
    if file is not None:
        path = Path(file).expanduser()
        if not path.exists():
            raise ConfigError(f"synonyms:{file}: no such file or folder")
        return path
    found = next((place for place in DEFAULT_PATHS if place.exists()), None)
    if found is None:
        raise ConfigError(
            f"synonyms: no dictionary at {' or '.join(map(str, DEFAULT_PATHS))}: install wordnet-base or mythes-en-us "
            "(Debian), or name a file: synonyms:FILE (MyThes .dat, Solr's rules in a .txt, or a table)"
        )
    return found


def read_dictionary(path: Path, report: LoadReport) -> list[Entry]:
    """(word or phrase, its synonyms), one entry a sense.

    Raises:
        BadRowError: a line or row gives no synonyms, and the report's options do not skip it.
        ConfigError: WordNet or MyThes in another format.
        DataError: the file cannot be read, or holds no synonyms.
    """
    if path.is_dir() or path.suffix == ".dat":
        reader = _wordnet if path.is_dir() else _mythes
        try:
            return list(reader(path))
        except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
            raise ConfigError(f"synonyms: {path} cannot be read as {reader.__name__.strip('_')} ({error!r})") from error
    file = open_table(path, report.options.encoding)
    has_rules = file.suffix in TEXT_SUFFIXES and not _has_header(file)
    entries = solr_entries(file, report) if has_rules else _table(path, report)
    if not entries:
        way = "Write couch, sofa for synonyms, or couch => sofa for one direction."
        raise DataError(f"{path}: no synonyms in this file. {report.summary() or way}")
    return entries


def _has_header(file: TableFile) -> bool:
    """Whether the first line that is no comment names a column of synonyms."""
    with file.text(newline=None) as handle:
        first = next((line for line in handle if line.strip() and not line.startswith("#")), "")
    return any(plain_name(cell) in ("synonyms", *_SYNONYMS) for cell in re.split(r"[\t;,|]", first.replace('"', "")))


def _table(path: Path, report: LoadReport) -> list[Entry]:
    table = checked_table(path, SYNONYMS, report)
    words = table["word"].to_pylist() if "word" in table.column_names else [""] * len(table)
    entries: list[Entry] = []
    problems: list[Problem] = []
    for word, cell, line in zip(words, table["synonyms"].to_pylist(), table["line"].to_pylist(), strict=True):
        found = [(word, split_synonyms(cell))] if word else parse_rule(cell.replace(" | ", ", "))
        if isinstance(found, str):
            problems.append((line, found, shorten(cell)))
        else:
            entries += found
    report.add(str(path), problems)
    return entries


def _entries_of_synset(words: list[str]) -> Iterator[Entry]:
    yield from ((word, [other for other in words if other != word]) for word in words)


def _wordnet(folder: Path) -> Iterator[Entry]:
    """Synsets: "offset lex_file type count word id word id …", the count in hexadecimal, "_" for spaces."""
    for name in WORDNET_FILES:
        with (folder / name).open(encoding="utf-8") as lines:
            for line in lines:
                if not line.startswith(" "):  # lines of the licence start with a space
                    fields = line.split(" ")
                    words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
                    yield from _entries_of_synset([_REMARK.sub("", word).replace("_", " ") for word in words])


def _mythes(path: Path) -> Iterator[Entry]:
    """Encoding, then entries "word|count" with count lines "(noun)|synonym|synonym (generic term)|…"."""
    with path.open("rb") as file:
        encoding = file.readline().decode("ascii").strip()
        lines = (line.decode(encoding).rstrip("\n") for line in file)
        for line in lines:
            word, count = line.split("|")
            for _ in range(int(count)):
                part, *synonyms = next(lines).split("|")
                if part in MYTHES_PARTS:  # in brackets: broader words and antonyms, which are no synonyms
                    yield word, [text for text in synonyms if "(" not in text]
