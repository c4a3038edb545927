"""Query expansion by synonyms from a dictionary, such as a merchant's synonym file.

    qr evaluate --agent synonyms                     # the machine's WordNet or MyThes thesaurus (Debian packages
                                                     # wordnet-base, mythes-en-us)
    qr evaluate --agent synonyms:my_synonyms.tsv

Files: WordNet's folder (its `data.noun` and `data.adj`, WNDB(5WN)); a MyThes thesaurus (`th_en_US_v2.dat`); two columns
separated by a tab, word and synonym (several separated by "|"); or JSON lines {"word": …, "synonyms": […]}. This
package ships no dictionary: no maintained PyPI package has one, and the data has its own licences.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from qr_env.common.errors import ConfigError
from qr_env.query_text.spelling import catalogue_words
from qr_env.shop.shop import Shop

DEFAULT_PATHS = (Path("/usr/share/wordnet"), Path("/usr/share/mythes/th_en_US_v2.dat"))
# Nouns and adjectives only, since queries name things: the verb "settle" has the synonyms "nail down" and "make up".
WORDNET_FILES = ("data.noun", "data.adj")
MYTHES_PARTS = ("(noun)", "(adj)")
MAX_PHRASE = 3  # words of a phrase that is looked up
_REMARK = re.compile(r"\s*\([^)]*\)")  # "(generic term)" of MyThes, "(a)" of WordNet's adjectives
Entries = Iterator[tuple[str, list[str]]]


class Synonyms:
    """Adds synonyms of the query's words that the catalogue knows; implements `qr_env.common.protocols.Agent`.

    Longer phrases are looked up first ("running shoe" before "shoe"). A synonym is usable if all its stems are in
    titles, brands or attributes; the `limit` most frequent usable synonyms of a phrase are added.

    Args:
        shop: its catalogue.
        file: a dictionary; None takes the first of `DEFAULT_PATHS` that exists.
        limit: synonyms of one phrase.
        unknown_only: look up only words that the catalogue lacks. The other words find products already, and synonyms
            of an unintended sense add irrelevant ones.

    Raises:
        ConfigError: no dictionary is found, or the file is not a dictionary.
    """

    name = "synonyms"

    def __init__(self, shop: Shop, file: str | Path | None = None, limit: int = 3, unknown_only: bool = True) -> None:
        self._tokenizer = shop.tokenizer
        self._counts: dict[str, int] = {}
        for word, count in catalogue_words(shop).items():
            for term in self._tokenizer.terms_of(word):
                self._counts[term] = self._counts.get(term, 0) + count
        self._limit, self._unknown_only = limit, unknown_only
        self._table = self._usable_synonyms(read_dictionary(dictionary_file(file)))

    def _usable_synonyms(self, entries: Entries) -> dict[tuple[str, ...], dict[str, int]]:
        """Stems of a phrase → usable synonyms → number of occurrences of the rarest word of the synonym."""
        table: dict[tuple[str, ...], dict[str, int]] = {}
        for phrase, synonyms in entries:
            key = tuple(self._tokenizer.terms(phrase))
            if not 0 < len(key) <= MAX_PHRASE:
                continue
            for synonym in synonyms:
                stems = self._tokenizer.terms(synonym)
                count = min((self._counts.get(stem, 0) for stem in stems), default=0)
                if count and not set(stems) <= set(key):
                    table.setdefault(key, {}).setdefault(" ".join(self._tokenizer.words(synonym)), count)
        return table

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The synonyms to add, n times; the query itself if there are none."""
        return [[self._expand(query)] * n for query in queries]

    def _expand(self, query: str) -> str:
        stems = self._tokenizer.terms(query)
        known, added, at = set(stems), [], 0
        while at < len(stems):
            width = next((w for w in range(MAX_PHRASE, 0, -1) if tuple(stems[at : at + w]) in self._table), 0)
            part = tuple(stems[at : at + width])
            at += max(width, 1)
            if not width or (self._unknown_only and all(stem in self._counts for stem in part)):
                continue
            found = self._table[part]
            ranked = sorted(found, key=lambda synonym: (-found[synonym], synonym))
            added += [synonym for synonym in ranked if not set(self._tokenizer.terms(synonym)) <= known][: self._limit]
        return " ".join(dict.fromkeys(added)) or query


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
            "(Debian), or name a file: synonyms:FILE (MyThes .dat, word-tab-synonym .tsv, or .jsonl)"
        )
    return found


def read_dictionary(path: Path) -> Entries:
    """(word or phrase, its synonyms), one entry a sense. Raises ConfigError for a file in another format."""
    readers: dict[str, Callable[[Path], Entries]] = {".dat": _mythes, ".tsv": _tsv, ".txt": _tsv, ".jsonl": _jsonl}
    reader = _wordnet if path.is_dir() else readers.get(path.suffix)
    if reader is None:
        raise ConfigError(
            f"synonyms: {path} is neither a .dat (MyThes), .tsv, .txt or .jsonl file nor a WordNet folder"
        )
    try:
        yield from reader(path)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ConfigError(f"synonyms: {path} cannot be read as {reader.__name__.strip('_')} ({error!r})") from error


def _entries_of_synset(words: list[str]) -> Entries:
    yield from ((word, [other for other in words if other != word]) for word in words)


def _wordnet(folder: Path) -> Entries:
    """Synsets: "offset lex_file type count word id word id …", the count in hexadecimal, "_" for spaces."""
    for name in WORDNET_FILES:
        with (folder / name).open(encoding="utf-8") as lines:
            for line in lines:
                if not line.startswith(" "):  # lines of the licence start with a space
                    fields = line.split(" ")
                    words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
                    yield from _entries_of_synset([_REMARK.sub("", word).replace("_", " ") for word in words])


def _mythes(path: Path) -> Entries:
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


def _tsv(path: Path) -> Entries:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            word, synonyms = line.split("\t")
            yield word, [text for text in synonyms.split("|") if text]


def _jsonl(path: Path) -> Entries:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            entry = json.loads(line)
            yield str(entry["word"]), [str(text) for text in entry["synonyms"]]
