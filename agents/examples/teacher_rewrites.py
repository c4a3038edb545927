"""Training pairs of a teacher: a file of rewrites, or any agent, such as a prompted large model.

    examples, counts = file_rewrites("rewrites.parquet", shop, combine="expand")      # columns query, rewrite
    agent = make_agent("prompted:smollm2-135m", AgentOptions(shop, retriever))
    examples, counts = teacher_rewrites(agent, shop, shop.split("train"))

A Boolean rewrite ("(couch OR sofa) AND blue") becomes the words to add: alternatives to the query's words, taken from
each group in turn. A group that shares no word with the query is an invention of the teacher ("rewards OR cashback" for
"credit card") and is left out, unless the query has words that no group covers, which the group may replace. Rows whose
query is a dev or test query of the shop are left out, so that evaluation queries are not trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from agents.examples.tasks import Example
from agents.query_log.graph import Counts
from agents.text.boolean_query import is_boolean, parse
from agents.text.expansion import negations, rewrite_for_mode
from qr_env.common.errors import DataError
from qr_env.common.protocols import Agent
from qr_env.common.types import Query
from qr_env.language.tokenize import Tokenizer
from qr_env.query_text.kept import plain
from qr_env.shop.readers.columns.spec import TEXT_LIMIT, Column, Spec
from qr_env.shop.readers.columns.tables import QUERY_NAMES
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.rows import checked_table
from qr_env.shop.shop import Shop

MAX_WORDS = 6  # words that a rewrite may add; longer ones are sentences
MAX_TERMS = 4  # words taken from a Boolean rewrite
PHRASE_WORDS = 3  # new words of one alternative
CHUNK = 256  # queries of one call of the teacher
_QUERY_NAMES = (*QUERY_NAMES, "original", "original_query", "source", "input", "prompt", "question", "instruction")
_REWRITE_NAMES = (
    *("rewritten", "rewritten_query", "query_rewrite", "new_query", "reformulation", "reformulated_query"),
    *("target", "output", "completion", "response", "qr_rewrite"),
)
REWRITES = Spec(
    "rewrites",
    (
        Column("query", _QUERY_NAMES, clean="entities", required=True, filled=True, empty="empty query"),
        Column("rewrite", _REWRITE_NAMES, limit=TEXT_LIMIT),
        Column("rewrites", ("rewritten_queries", "alternatives", "candidates"), limit=TEXT_LIMIT),
    ),
)


def read_rewrites(path: str | Path, report: LoadReport) -> list[tuple[str, str]]:
    """(query, rewrite) of each row of a file; "" for a missing rewrite, several for a list of rewrites.

    Args:
        path: a table of any format that products may have, with the columns query and rewrite, or rewrites, several
            with | between them or as a list (names: `REWRITES`).
        report: how it is read; takes notes and invalid rows.

    Raises:
        BadRowError: an invalid row, such as one without a query, that the report's options do not skip.
        DataError: no such file, an unknown kind of file, or a column is missing.
    """
    table = checked_table(Path(path), REWRITES, report)
    queries = table["query"].to_pylist()
    if "rewrite" in table.column_names:
        return list(zip(queries, table["rewrite"].to_pylist(), strict=True))
    if "rewrites" not in table.column_names:
        names = ", ".join((*REWRITES.columns[1].names, *REWRITES.columns[2].names))
        raise DataError(f"{path}: no column for 'rewrite'; accepted names are {names}")
    lists = ([text.strip() for text in cell.split("|")] for cell in table["rewrites"].to_pylist())
    return [(query, text) for query, texts in zip(queries, lists, strict=True) for text in texts]


def expansion_terms(
    query: str, boolean: str, tokenizer: Tokenizer, known: frozenset[str] | None = None, limit: int = MAX_TERMS
) -> str:
    """The words to add to a query, from a Boolean rewrite of it; "" for none.

    Args:
        query: as typed.
        boolean: the Boolean rewrite.
        tokenizer: of the shop's language.
        known: stems of the catalogue, outside of which no word is added; None allows every word.
        limit: most words to add.
    """
    parsed = parse(boolean)
    own = set(tokenizer.terms(query))
    stems = [{stem for text in group for stem in tokenizer.terms(text)} for group in parsed.groups]
    uncovered = own - {stem for group in stems for stem in group}
    forbidden = {stem for text in parsed.excluded for stem in tokenizer.terms(text)}
    offers = [
        _added_words(query, group, forbidden, known, tokenizer)
        for group, of_group in zip(parsed.groups, stems, strict=True)
        if own & of_group or uncovered
    ]
    words: dict[str, str] = {}  # stem → word
    for turn in range(max(map(len, offers), default=0)):
        for phrase in (offer[turn] for offer in offers if turn < len(offer)):
            new = {" ".join(tokenizer.terms(word)): word for word in phrase.split()}
            if len(words | new) <= limit:
                words |= {stem: word for stem, word in new.items() if stem not in words}
    return " ".join(words.values())


def _added_words(
    query: str, group: Iterable[str], forbidden: set[str], known: frozenset[str] | None, tokenizer: Tokenizer
) -> list[str]:
    """The usable words that each alternative of a group adds to the query."""
    found = []
    for text in group:
        if negations(tokenizer) & set(tokenizer.words(text)):
            continue
        added = rewrite_for_mode(query, text, "expand", tokenizer)
        stems = set(tokenizer.terms(added))
        usable = bool(stems) and len(added.split()) <= PHRASE_WORDS and not stems & forbidden
        if usable and (known is None or known.issuperset(stems)):
            found.append(added)
    return list(dict.fromkeys(found))


def file_rewrites(
    path: str | Path,
    shop: Shop,
    combine: str = "expand",
    known: frozenset[str] | None = None,
    report: LoadReport | None = None,
) -> tuple[list[Example], Counts]:
    """Examples of the task "rewrite" from a file, and the count of every filter, in order.

    Args:
        path: see `read_rewrites`.
        shop: its dev and test queries are left out.
        combine: how the rewrites will be searched.
        known: stems of the catalogue, for Boolean rewrites (`expansion_terms`).
        report: how the file is read; takes notes and invalid rows.
    """
    return _from_rows(read_rewrites(path, report or LoadReport()), shop, combine, known, f"teacher:{Path(path).name}")


def teacher_rewrites(
    agent: Agent, shop: Shop, queries: Sequence[Query], combine: str = "expand", n: int = 1, seed: int = 0
) -> tuple[list[Example], Counts]:
    """Examples of the task "rewrite" from an agent, `n` rewrites a query, and the count of every filter, in order.

    Rewrites that keep the original are left out, because an agent that fails keeps it too.
    """
    rows: list[tuple[str, str]] = []
    starts = range(0, len(queries), CHUNK)
    for start in tqdm(starts, desc=f"{agent.name} rewrites", unit="chunk", disable=len(starts) < 2):
        texts = [query.text for query in queries[start : start + CHUNK]]
        written = agent.rewrite(texts, n, seed)
        rows += [
            (text, rewrite)
            for text, rewrites in zip(texts, written, strict=True)
            for rewrite in dict.fromkeys(rewrites)
        ]
    return _from_rows(rows, shop, combine, None, f"teacher:{agent.name}")


FILTERS = ("query or rewrite missing", "query of dev or test", "nothing to add", "too long", "duplicate")


def _from_rows(
    rows: Sequence[tuple[str, str]], shop: Shop, combine: str, known: frozenset[str] | None, source: str
) -> tuple[list[Example], Counts]:
    """Examples from (query, rewrite) rows."""
    counts: Counts = {"rows": len(rows), "Boolean, parsed": 0} | dict.fromkeys(FILTERS, 0)
    ids = {plain(query.text): query.id for query in shop.split("train")}
    held = {plain(query.text) for split in ("dev", "test") for query in shop.split(split)}
    found: dict[tuple[str, str], Example] = {}
    for query, rewrite in rows:
        query = " ".join(query.split())
        text = _rewrite_text(query, rewrite, combine, known, shop.tokenizer)
        counts["Boolean, parsed"] += is_boolean(rewrite)
        if reason := _rejection(query, rewrite, text, held, combine):
            counts[reason] += 1
        elif (plain(query), text) in found:
            counts["duplicate"] += 1
        else:
            name = ids.get(plain(query), "")
            found[plain(query), text] = Example("rewrite", query, text, source=source, query_id=name)
    return list(found.values()), counts | {"kept": len(found)}


def _rejection(query: str, rewrite: str, text: str, held: set[str], combine: str) -> str:
    """The filter that rejects a row, "" for none."""
    if not query or not rewrite.strip():
        return "query or rewrite missing"
    if plain(query) in held:
        return "query of dev or test"
    if not text:
        return "nothing to add"
    limit = MAX_WORDS if combine == "expand" else MAX_WORDS + len(query.split())
    return "too long" if len(text.split()) > limit else ""


def _rewrite_text(query: str, rewrite: str, combine: str, known: frozenset[str] | None, tokenizer: Tokenizer) -> str:
    """A teacher's rewrite in the form that the student must write."""
    if not is_boolean(rewrite):
        return rewrite_for_mode(query, rewrite, combine, tokenizer)
    added = expansion_terms(query, rewrite, tokenizer, known)
    return added if combine == "expand" or not added else f"{query} {added}"
