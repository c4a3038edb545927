"""What a teacher wrote: a file of rewrites, or any agent that is asked now, such as a prompted large model.

    examples, counts = file_rewrites("rewrites.parquet", shop, combine="expand")      # columns query, rewrite
    examples, counts = teacher_rewrites(make_agent("prompted:smollm2-135m", AgentOptions(shop, retriever)), shop.split("train"))

Boolean rewrites ("(couch OR sofa) AND blue") become the words to add: alternatives of what the query says, taken from
each group in turn. A group that shares no word with the query is what the teacher made up ("rewards OR cashback" for
"credit card") and is left out, unless the query has words that no group covers, which it may then replace. Rows whose
query is one of the shop's dev or test queries are left out: what is measured there must not be taught.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from agents.examples.tasks import Example
from agents.query_log.graph import Counts
from agents.text.boolean_query import is_boolean, parse
from agents.text.expansion import NEGATIONS, rewrite_for_mode
from qr_env.common import tokenize
from qr_env.common.errors import DataError
from qr_env.common.protocols import Agent
from qr_env.common.types import Query
from qr_env.retrieval.combine import plain
from qr_env.shop.shop import Shop

MOST_WORDS = 6  # that a rewrite may add: a longer one is no list of words any more, but a text
MOST_TERMS = 4  # that are taken of a Boolean rewrite
PHRASE_WORDS = 3  # new words that one alternative may bring
CHUNK = 256  # queries that a teacher is asked at a time


def read_rewrites(path: str | Path) -> list[tuple[str, str]]:
    """(query, rewrite) of each row of a Parquet, CSV or JSONL file; "" where a value is missing.

    Raises:
        DataError: no such file, another kind of file, or no columns "query" and "rewrite".
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no file of rewrites at {path}")
    table = _read_table(path)
    if missing := {"query", "rewrite"} - set(table.column_names):
        raise DataError(f"{path}: no column {', '.join(sorted(missing))}; there are {table.column_names}")
    columns = (table[name].cast(pa.string()).fill_null("").to_pylist() for name in ("query", "rewrite"))
    return list(zip(*columns, strict=True))


def _read_table(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(path)
        if path.suffix == ".csv":
            from pyarrow import csv

            return csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True))
        if path.suffix in (".jsonl", ".ndjson"):
            from pyarrow import json

            return json.read_json(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    raise DataError(f"{path}: rewrites come as .parquet, .csv or .jsonl")


def expansion_terms(query: str, boolean: str, known: frozenset[str] | None = None, most: int = MOST_TERMS) -> str:
    """The words to add to a query that a Boolean rewrite of it offers, at most `most`, "" for none.

    Args:
        known: stems of the catalogue; words that it lacks are not added. None takes every word.
    """
    parsed = parse(boolean)
    own = set(tokenize.terms(query))
    stems = [{stem for text in group for stem in tokenize.terms(text)} for group in parsed.groups]
    uncovered = own - {stem for group in stems for stem in group}
    forbidden = {stem for text in parsed.excluded for stem in tokenize.terms(text)}
    offers = [
        _offers(query, group, forbidden, known)
        for group, of_group in zip(parsed.groups, stems, strict=True)
        if own & of_group or uncovered
    ]
    words: dict[str, str] = {}  # stem → word
    for turn in range(max(map(len, offers), default=0)):
        for phrase in (offer[turn] for offer in offers if turn < len(offer)):
            new = {" ".join(tokenize.terms(word)): word for word in phrase.split()}
            if len(words | new) <= most:
                words |= {stem: word for stem, word in new.items() if stem not in words}
    return " ".join(words.values())


def _offers(query: str, group: Iterable[str], forbidden: set[str], known: frozenset[str] | None) -> list[str]:
    """What each alternative of a group adds to the query, where that is usable."""
    found = []
    for text in group:
        if NEGATIONS & set(tokenize.words(text)):
            continue
        added = rewrite_for_mode(query, text, "expand")
        stems = set(tokenize.terms(added))
        usable = bool(stems) and len(added.split()) <= PHRASE_WORDS and not stems & forbidden
        if usable and (known is None or known.issuperset(stems)):
            found.append(added)
    return list(dict.fromkeys(found))


def file_rewrites(
    path: str | Path, shop: Shop, combine: str = "expand", known: frozenset[str] | None = None
) -> tuple[list[Example], Counts]:
    """Examples of the task "rewrite" from a file, and the count of every filter, in order.

    Args:
        known: stems of the catalogue, for Boolean rewrites (`expansion_terms`).
    """
    return _from_rows(read_rewrites(path), shop, combine, known, f"teacher:{Path(path).name}")


def teacher_rewrites(
    agent: Agent, shop: Shop, queries: Sequence[Query], combine: str = "expand", n: int = 1, seed: int = 0
) -> tuple[list[Example], Counts]:
    """Examples of the task "rewrite" from an agent that is asked now, `n` rewrites a query, and the filters' counts.

    A rewrite that keeps its query is left out: an agent that failed, or had no answer, keeps it too.
    """
    from tqdm import tqdm

    rows: list[tuple[str, str]] = []
    starts = range(0, len(queries), CHUNK)
    for start in tqdm(starts, desc=f"ask {agent.name}", unit="chunk", disable=len(starts) < 2):
        texts = [query.text for query in queries[start : start + CHUNK]]
        written = agent.rewrite(texts, n, seed)
        rows += [
            (text, rewrite)
            for text, rewrites in zip(texts, written, strict=True)
            for rewrite in dict.fromkeys(rewrites)
        ]
    return _from_rows(rows, shop, combine, None, f"teacher:{agent.name}")


FILTERS = ("query or rewrite missing", "query of dev or test", "nothing to add", "too long", "twice")


def _from_rows(
    rows: Sequence[tuple[str, str]], shop: Shop, combine: str, known: frozenset[str] | None, source: str
) -> tuple[list[Example], Counts]:
    """What file and agent share."""
    counts: Counts = {"rows": len(rows), "Boolean, taken apart": 0} | dict.fromkeys(FILTERS, 0)
    ids = {plain(query.text): query.id for query in shop.split("train")}
    held = {plain(query.text) for split in ("dev", "test") for query in shop.split(split)}
    found: dict[tuple[str, str], Example] = {}
    for query, rewrite in rows:
        query = " ".join(query.split())
        text = _written(query, rewrite, combine, known)
        counts["Boolean, taken apart"] += is_boolean(rewrite)
        if reason := _refused(query, rewrite, text, held, combine):
            counts[reason] += 1
        elif (plain(query), text) in found:
            counts["twice"] += 1
        else:
            name = ids.get(plain(query), "")
            found[plain(query), text] = Example("rewrite", query, text, source=source, query_id=name)
    return list(found.values()), counts | {"kept": len(found)}


def _refused(query: str, rewrite: str, text: str, held: set[str], combine: str) -> str:
    """The filter that a row falls to, "" for none."""
    if not query or not rewrite.strip():
        return "query or rewrite missing"
    if plain(query) in held:
        return "query of dev or test"
    if not text:
        return "nothing to add"
    limit = MOST_WORDS if combine == "expand" else MOST_WORDS + len(query.split())
    return "too long" if len(text.split()) > limit else ""


def _written(query: str, rewrite: str, combine: str, known: frozenset[str] | None) -> str:
    """A teacher's rewrite as the student must write it."""
    if not is_boolean(rewrite):
        return rewrite_for_mode(query, rewrite, combine)
    added = expansion_terms(query, rewrite, known)
    return added if combine == "expand" or not added else f"{query} {added}"
