"""Two versions of a table: what changed, what of the traffic it touches, and whether the new one may be taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agents.serving.table.entry import TableEntry
from qr_env.common.text_keys import text_key
from qr_env.query_text.weights import parse_weights

SHOWN = 10  # best and worst changes that are kept


@dataclass(frozen=True)
class Change:
    """One query whose answer differs."""

    query: str
    """As typed."""
    old: str
    """Rewrite that was served; "" is the query as typed."""
    new: str
    """Rewrite that would be served."""
    frequency: float
    """Searches, by the new table where it has the query."""
    gain: float | None
    """Judge's nDCG@10 of the new answer − of the old; None where a verdict is missing, or where one table lacks the
    query: its answer is then the rewriter's."""

    @property
    def weighed(self) -> float:
        """Gain times searches; 0 where unknown."""
        return (self.gain or 0.0) * self.frequency


@dataclass
class Comparison:
    """The differences of two tables."""

    added: int = 0
    """queries of the new table alone"""
    removed: int = 0
    """queries of the old table alone"""
    same: int = 0
    """queries with the same answer"""
    changes: list[Change] = field(default_factory=list)
    """queries of both, or of one, whose served answer differs"""
    searches: float = 0.0
    """searches of all queries of either table"""
    changed_searches: float = 0.0
    """of those whose answer differs"""
    worse_searches: float = 0.0
    """of those whose new answer is judged worse than the old, unless the merchandiser's rules decided it"""

    @property
    def changed_share(self) -> float:
        """Share of the traffic whose answer differs."""
        return self.changed_searches / self.searches if self.searches else 0.0

    @property
    def worse_share(self) -> float:
        """Share of the traffic whose new answer is judged worse."""
        return self.worse_searches / self.searches if self.searches else 0.0

    @property
    def mean_gain(self) -> float:
        """Mean change of the judge's nDCG@10 over the traffic; unknown changes count as none."""
        return sum(change.weighed for change in self.changes) / self.searches if self.searches else 0.0

    def best(self) -> list[Change]:
        """Changes with the greatest gain times searches."""
        return [one for one in sorted(self.changes, key=_weighed, reverse=True) if one.weighed > 0][:SHOWN]

    def worst(self) -> list[Change]:
        """Changes with the greatest loss times searches."""
        return [one for one in sorted(self.changes, key=_weighed) if one.weighed < 0][:SHOWN]


def _weighed(change: Change) -> float:
    return change.weighed


def compare(old: Iterable[TableEntry], new: Iterable[TableEntry], tolerance: float = 0.01) -> Comparison:
    """Compare what two tables serve; a loss of up to `tolerance` counts as none."""
    before = {text_key(entry.rewritten.query): entry for entry in old}
    after = {text_key(entry.rewritten.query): entry for entry in new}
    found = Comparison(added=len(after.keys() - before.keys()), removed=len(before.keys() - after.keys()))
    for key in sorted(before.keys() | after.keys()):
        ours, theirs = before.get(key), after.get(key)
        some = theirs or ours
        assert some is not None
        frequency = some.rewritten.frequency
        found.searches += frequency
        texts = served(ours), served(theirs)
        if parse_weights(texts[0]) == parse_weights(texts[1]):
            found.same += key in before and key in after
            continue
        change = Change(some.rewritten.query, *texts, frequency, _gain(ours, theirs))
        found.changes.append(change)
        found.changed_searches += frequency
        by_rule = theirs is not None and bool(theirs.rules)
        if change.gain is not None and change.gain < -tolerance and not by_rule:
            found.worse_searches += frequency
    return found


def served(entry: TableEntry | None) -> str:
    """The rewrite that a table serves; "" where the query is searched as typed."""
    if entry is None or not entry.passed or entry.rewritten.kept:
        return ""
    return entry.rewritten.rewrite


def served_gain(entry: TableEntry) -> float | None:
    """Judged gain of what is served over the query as typed: 0 where it is the query itself; None unknown."""
    return entry.judged.gain if served(entry) else 0.0


def _gain(old: TableEntry | None, new: TableEntry | None) -> float | None:
    """Of the answers, each relative to the query as typed, by its own table's judge."""
    if old is None or new is None:
        return None
    before, after = served_gain(old), served_gain(new)
    return None if before is None or after is None else after - before
