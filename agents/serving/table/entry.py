"""One row of a table of precomputed rewrites: the rewrite, what engine and judge saw, and whether it may be served."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol

from agents.serving.rewritten import AddedWord, Rewritten
from qr_env.common.types import JsonDict


@dataclass(frozen=True, slots=True)
class Judged:
    """What the engine found for query and rewrite, and what the judge said of it."""

    original_ids: tuple[str, ...] = ()
    """Product ids of the query's first results, best first."""
    rewrite_ids: tuple[str, ...] = ()
    """Product ids of the rewrite's first results."""
    original: float | None = None
    """Judge's nDCG@10 of the query's list; None where a verdict is missing."""
    rewrite: float | None = None
    """Judge's nDCG@10 of the rewrite's list."""
    low: float | None = None
    """Lower end of the 95 % interval of the difference, by the judge's own uncertainty."""
    high: float | None = None
    """Upper end."""

    @property
    def gain(self) -> float | None:
        """Difference of the two; None where either is unknown."""
        return None if self.original is None or self.rewrite is None else self.rewrite - self.original


ROW_NAMES = tuple(one.name for one in fields(Rewritten))
JUDGED_NAMES = tuple(one.name for one in fields(Judged))


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A row of a table."""

    rewritten: Rewritten
    """The rewrite, after the merchandiser's rules."""
    passed: bool = True
    """Whether it may be served; where not, the service searches the query as typed."""
    why: str = ""
    """Why it passed, or why not, for people."""
    judged: Judged = field(default_factory=Judged)
    """What engine and judge saw."""
    rules: tuple[str, ...] = ()
    """The merchandiser's rules that changed the rewriter's answer, as `Rules.check` names them."""

    def as_text(self) -> str:
        """The row as one line of JSON."""
        row, judged = ({name: getattr(one, name) for name in names} for one, names in self._parts())
        row["words"] = [{"word": one.word, "weight": one.weight, "source": one.source} for one in self.rewritten.words]
        values = {"rewritten": row, "judged": judged, "passed": self.passed, "why": self.why, "rules": self.rules}
        return json.dumps(values, ensure_ascii=False, sort_keys=True)

    def _parts(self) -> tuple[tuple[object, tuple[str, ...]], ...]:
        """What holds values, with their names; `dataclasses.asdict` would copy them, which takes most of the time."""
        return (self.rewritten, ROW_NAMES), (self.judged, JUDGED_NAMES)

    @classmethod
    def from_text(cls, text: str | bytes) -> TableEntry:
        """The row of which `as_text` wrote this line."""
        values: JsonDict = json.loads(text)
        row, judged = values["rewritten"], values["judged"]
        row["words"] = tuple(AddedWord(**word) for word in row["words"])
        ids = {name: tuple(judged[name]) for name in ("original_ids", "rewrite_ids")}
        return cls(Rewritten(**row), values["passed"], values["why"], Judged(**judged | ids), tuple(values["rules"]))


@dataclass(frozen=True)
class TableFacts:
    """What a table was built from."""

    version: str
    """Hash of all rows: equal for equal tables."""
    rows: int
    """Number of entries."""
    plan: JsonDict
    """Rewriter, shop, engine, judge, rules and settings, by name."""
    built: str = ""
    """When, UTC."""


class RewriteTable(Protocol):
    """Precomputed rewrites, read-only."""

    facts: TableFacts
    """What it was built from."""

    @property
    def version(self) -> str:
        """Of the content."""
        ...

    def look_up(self, queries: Sequence[str]) -> list[TableEntry | None]:
        """The entry of each query; None where the table has none."""
        ...

    def entries(self) -> Iterator[TableEntry]:
        """All entries, by the text key of their query."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
