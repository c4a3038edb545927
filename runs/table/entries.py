"""The entries of a table: rewritten, ruled, searched and judged, or taken over from the table before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from tqdm import tqdm

from agents.serving.rewritten import Rewritten
from agents.serving.rules import Rules
from agents.serving.table.entry import RewriteTable, TableEntry, TableFacts
from agents.serving.table.guard import DEPTH, GuardSettings, decided, judge_rows
from agents.serving.table.sqlite_table import TableWriter
from qr_env.common.protocols import Judge
from qr_env.common.text_keys import text_key
from qr_env.common.types import Hits, JsonDict, Query
from qr_env.retrieval.combine import search
from runs.common.serving.queries import AskedQuery
from runs.common.serving.rewriter import OpenRewriter
from runs.common.serving.rows import rewritten_batch

VERDICT = ("products_hash", "shop_hash", "retriever", "combine", "weight", "judge", "repeats")  # what a verdict is of
Ruled = tuple[Rewritten, tuple[str, ...]]  # a rewrite after the rules, and those that changed it


@dataclass(frozen=True)
class Before:
    """The table before, and what of it holds for the one that is built."""

    table: RewriteTable | None = None
    """open; None: there is none"""
    rewrites: bool = False
    """whether its model is the same, so that its rewrites hold"""
    rules: bool = False
    """whether the rules are the same"""
    verdicts: bool = False
    """whether engine, products and judge are the same, so that its verdicts on equal rewrites hold"""

    @classmethod
    def of(cls, table: RewriteTable | None, plan: JsonDict) -> Before:
        """What of a table holds for a build of this plan."""
        if table is None:
            return cls()
        same = {name for name, value in plan.items() if table.facts.plan.get(name) == value}
        return cls(table, "model" in same, "rules" in same, same.issuperset(VERDICT))

    def look_up(self, texts: Sequence[str]) -> list[TableEntry | None]:
        """The entries of the queries."""
        return [None] * len(texts) if self.table is None else self.table.look_up(texts)


@dataclass
class Build:
    """What makes entries of queries."""

    opened: OpenRewriter
    """Rewriter and engine."""
    judge: Judge
    """Of the guard."""
    rules: Rules
    """Of the merchandiser."""
    guard: GuardSettings
    """When a rewrite passes."""
    strict: frozenset[str] = frozenset()
    """text keys of the most frequent queries"""
    before: Before = Before()
    """the table before"""
    counts: Counter[str] = field(default_factory=Counter)
    """"rewritten" and "judged": queries for which rewriter and judge were asked"""

    def __post_init__(self) -> None:
        self._queries = {text_key(query.text): query for query in self.opened.shop.all_queries}
        self._ids: list[str] = self.opened.shop.products["product_id"].to_pylist()

    def entries(self, asked: Sequence[AskedQuery]) -> list[TableEntry]:
        """The entries of P queries."""
        olds = self.before.look_up([one.text for one in asked])
        ruled = self._ruled(asked, olds)
        known = [self._known(one, old) for one, old in zip(ruled, olds, strict=True)]
        fresh = iter(self._judged([one for one, entry in zip(ruled, known, strict=True) if entry is None]))
        return [next(fresh) if entry is None else entry for entry in known]

    def _ruled(self, asked: Sequence[AskedQuery], olds: Sequence[TableEntry | None]) -> list[Ruled]:
        """The rewrites after the rules; the rewriter is asked where the table before does not know its answer."""
        taken = [self._taken(one, old) for one, old in zip(asked, olds, strict=True)]
        left = [one for one, row in zip(asked, taken, strict=True) if row is None]
        self.counts["rewritten"] += len(left)
        rows = rewritten_batch(self.opened, [one.text for one in left], [one.frequency for one in left]) if left else []
        fresh = iter([self._checked(row) for row in rows])
        return [next(fresh) if row is None else row for row in taken]

    def _taken(self, one: AskedQuery, old: TableEntry | None) -> Ruled | None:
        """The answer of the table before. A rewrite that its rules had changed is not what the rewriter said."""
        if old is None or not self.before.rewrites or old.rewritten.query != one.text:
            return None
        row = replace(old.rewritten, frequency=one.frequency)
        if self.before.rules:
            return row, old.rules
        return None if old.rules else self._checked(row)

    def _checked(self, row: Rewritten) -> Ruled:
        return self.rules.check(row, self.opened.combine, self.opened.weight)

    def _known(self, ruled: Ruled, old: TableEntry | None) -> TableEntry | None:
        """The entry where engine and judge have seen this rewrite before."""
        row, rules = ruled
        if old is None or not self.before.verdicts:
            return None
        if (old.rewritten.query, old.rewritten.rewrite) != (row.query, row.rewrite):
            return None
        return decided(replace(old, rewritten=row, rules=rules), self.guard, text_key(row.query) in self.strict)

    def _judged(self, ruled: Sequence[Ruled]) -> list[TableEntry]:
        """The entries: both lists searched and judged."""
        if not ruled:
            return []
        self.counts["judged"] += len(ruled)
        rows = [row for row, _ in ruled]
        texts = [row.query for row in rows]
        original = self._search(texts, texts)
        changed = self._search(texts, [row.rewrite for row in rows])
        queries = [self._queries.get(text_key(text), Query(-1, "", text)) for text in texts]
        made = judge_rows(rows, queries, original, changed, self._ids, self.judge, self.guard, self.strict)
        return [replace(entry, rules=rules) for entry, (_, rules) in zip(made, ruled, strict=True)]

    def _search(self, queries: Sequence[str], rewrites: Sequence[str]) -> Hits:
        opened = self.opened
        return search(opened.retriever, queries, rewrites, opened.combine, opened.weight, DEPTH)


def write_entries(writer: TableWriter, build: Build, asked: Sequence[AskedQuery], batch: int) -> None:
    """Write the entries that an interrupted build lacks."""
    done = writer.done()
    left = [one for one in asked if text_key(one.text) not in done]
    with tqdm(total=len(asked), initial=len(asked) - len(left), desc="table", unit="query") as bar:
        for part in parts(left, batch):
            writer.add(build.entries(part))
            bar.update(len(part))


def parts(asked: Sequence[AskedQuery], size: int) -> Iterator[Sequence[AskedQuery]]:
    """Slices of at most `size`."""
    for start in range(0, len(asked), size):
        yield asked[start : start + size]


def fired_rules(entries: Sequence[TableEntry]) -> dict[str, int]:
    """Rule → entries that it changed, the most frequent first."""
    return dict(Counter(rule for entry in entries for rule in entry.rules).most_common())


def same_products(one: TableFacts, other: TableFacts) -> bool:
    """Whether the figures of two tables are of the same judge, engine and products."""
    return all(one.plan.get(name) == other.plan.get(name) for name in ("judge", "retriever", "products_hash"))
