"""The queries of a table: those of a log, each once, the most frequent first."""

from __future__ import annotations

from dataclasses import dataclass

from agents.serving.rules import Rules
from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_text
from qr_env.common.messages import print_message
from qr_env.common.privacy import mask_text
from qr_env.common.text_keys import text_key
from runs.common.serving.queries import AskedQuery, read_table
from runs.common.serving.rewriter import OpenRewriter
from runs.table.args import BuildArgs


@dataclass(frozen=True)
class Chosen:
    """What the table is built of."""

    queries: list[AskedQuery]
    """each text once, the most frequent first; those of overrides alone at the end, with frequency 0"""
    searches: float
    """of the whole log"""
    masked: int = 0
    """queries that were left out because they hold personal data"""

    @property
    def hash(self) -> str:
        """Of texts and frequencies."""
        return sha256_text("\n".join(f"{one.frequency:g} {one.text}" for one in self.queries), 12)


def choose_queries(args: BuildArgs, opened: OpenRewriter, rules: Rules) -> Chosen:
    """The queries of the table.

    Raises:
        ConfigError: there is none.
    """
    if args.log is not None:
        asked = read_table(args.log, args.read_options())
    else:
        asked = [AskedQuery(query.text, query.frequency) for query in opened.shop.all_queries]
    merged, masked = merge(asked)
    if masked:
        print_message(f"note: {masked:,} queries hold an e-mail address, a phone or a card number: left out")
    if not merged:
        raise ConfigError(f"{opened.shop!r} has no query to build a table of: name a log")
    searches = sum(one.frequency for one in merged)
    return Chosen(with_overrides(head(merged, args.head, args.coverage), rules), searches, masked)


def merge(asked: list[AskedQuery]) -> tuple[list[AskedQuery], int]:
    """(queries with equal text keys as one, in the spelling of the first, the most frequent first; rows left out)."""
    searches: dict[str, float] = {}
    texts: dict[str, str] = {}
    masked = 0
    for one in asked:
        key = text_key(one.text)
        if not key or mask_text(one.text) != one.text:
            masked += bool(key)
            continue
        texts.setdefault(key, one.text)
        searches[key] = searches.get(key, 0.0) + one.frequency
    order = sorted((-count, key) for key, count in searches.items())
    return [AskedQuery(texts[key], -count) for count, key in order], masked


def with_overrides(asked: list[AskedQuery], rules: Rules) -> list[AskedQuery]:
    """The queries and, with frequency 0, those that only the rules' overrides name: exports need them too."""
    known = {text_key(one.text) for one in asked}
    return asked + [AskedQuery(query, 0.0) for query in sorted(rules.overrides) if query not in known]


def head(asked: list[AskedQuery], number: int | None, coverage: float | None) -> list[AskedQuery]:
    """The first `number` of them, or as many as cover this share of all searches."""
    if coverage is None:
        return asked[:number]
    wanted, total = coverage * sum(one.frequency for one in asked), 0.0
    for at, one in enumerate(asked):
        total += one.frequency
        if total >= wanted - 1e-9:
            return asked[: at + 1]
    return asked
