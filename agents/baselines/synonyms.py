"""Query expansion by synonyms from a dictionary, such as a merchant's synonym file.

qr evaluate --agent synonyms                     # the machine's WordNet or MyThes thesaurus (Debian packages
                                                 # wordnet-base, mythes-en-us)
qr evaluate --agent synonyms:synonyms.txt        # Solr's rules, and other files: synonym_files.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from agents.baselines.solr_synonyms import Entry
from agents.baselines.synonym_files import dictionary_file, read_dictionary
from qr_env.query_text.spelling import catalogue_words
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop

MAX_PHRASE = 3  # words of a phrase that is looked up


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
        options: how the file is read.

    Raises:
        ConfigError: no dictionary is found, or a WordNet folder or MyThes file cannot be read.
        DataError: the file cannot be read, or a line that the options do not skip gives no synonyms.
    """

    name = "synonyms"

    def __init__(
        self,
        shop: Shop,
        file: str | Path | None = None,
        limit: int = 3,
        unknown_only: bool = True,
        options: ReadOptions | None = None,
    ) -> None:
        self._tokenizer = shop.tokenizer
        self._counts: dict[str, int] = {}
        for word, count in catalogue_words(shop).items():
            for term in self._tokenizer.terms_of(word):
                self._counts[term] = self._counts.get(term, 0) + count
        self._limit, self._unknown_only = limit, unknown_only
        report = LoadReport(options or ReadOptions())
        path = dictionary_file(file)
        entries = read_dictionary(path, report)
        self._table = self._usable_synonyms(entries)
        report.note(
            f"{path.name}: {len(entries):,} entries of synonyms; {len(self._table):,} words or phrases of up to "
            f"{MAX_PHRASE} words have one that the catalogue has"
        )
        report.warn(self.name)

    def _usable_synonyms(self, entries: Iterable[Entry]) -> dict[tuple[str, ...], dict[str, int]]:
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
