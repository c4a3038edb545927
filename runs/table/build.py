"""`qr table build`: rewrite and judge the queries of a log. Its flags are in `runs/table/args.py`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from agents.serving.rewritten import Rewritten
from agents.serving.rules import Rules
from agents.serving.table.compare import Comparison, compare
from agents.serving.table.entry import TableEntry, TableFacts
from agents.serving.table.guard import GuardSettings, judge_rows
from agents.serving.table.opening import is_redis, open_table
from agents.serving.table.redis_table import connect, parse_url, publish_to_redis
from agents.serving.table.sqlite_table import SqliteTable, TableWriter
from judges.checks import check_judge
from judges.factory import auto_judge, needs_encoder, open_judge
from qr_env.common.download import cache_root
from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from qr_env.common.privacy import mask_text
from qr_env.common.protocols import Judge, TextEncoder
from qr_env.common.text_keys import text_key
from qr_env.common.types import Hits, JsonDict, Query
from qr_env.retrieval.combine import search
from qr_env.retrieval.factory import default_encoder, retriever_uses_encoder
from runs.common.checks import about, check_file, check_folder, check_output
from runs.common.output import write_json
from runs.common.serving.queries import AskedQuery, read_table
from runs.common.serving.rewriter import OpenRewriter, open_rewriter, plan_rewriter
from runs.common.serving.rows import rewritten_batch
from runs.common.timing import stamped
from runs.online.evaluation import auto_reporter
from runs.table.args import BuildArgs
from runs.table.text import comparison_lines

DEPTH = 10  # results that are judged and kept


def main(args: BuildArgs) -> None:
    """Build, compare, publish."""
    check_inputs(args)
    started = time.perf_counter()
    rules = Rules.read(args.rules) if args.rules else Rules()
    opened = open_rewriter(args.agent, args)
    judge_spec = guard_judge(args, opened)
    judge = open_judge(judge_spec, opened.shop, args.judge_options(encoder_of(args, judge_spec)))
    asked = with_overrides(choose_queries(args, opened), rules)
    strict = max(asked[min(args.strict, len(asked)) - 1].frequency, 1.0) if args.strict else 0.0
    guard = GuardSettings(args.tolerance, strict)
    path = file_of(args)
    old = SqliteTable.open(path) if path.is_file() else None
    plan = plan_of(args, opened, judge_spec, rules, guard, asked)
    with TableWriter(path, plan) as writer:
        build = Build(opened, judge, rules, guard, product_ids(opened))
        write_entries(writer, build, asked, args.batch, old)
        entries = list(writer.entries())
        comparison = compare(old.entries(), entries, args.tolerance) if old else None
        if comparison is not None:
            refuse_worse(args, comparison, writer.part)
        facts = writer.publish()
    if is_redis(args.out):
        publish_to_redis(SqliteTable.open(path), args.out)
    report(args, facts, entries, rules, comparison, time.perf_counter() - started)


def check_inputs(args: BuildArgs) -> None:
    """Raise what is wrong with the flags, before anything is loaded."""
    if args.log is not None:
        check_file("log", args.log)
    if is_redis(args.out):
        connect(parse_url(args.out)[0]).close()
    else:
        check_output("out", args.out)
    check_output("json", args.json)
    check_folder("cache", args.cache)
    if args.rules is not None:
        Rules.read(args.rules)
    if args.head is not None and args.coverage is not None:
        raise ConfigError(f"head={args.head} and coverage={args.coverage}: give one of the two")
    if args.coverage is not None and not 0 < args.coverage <= 1:
        raise ConfigError(f"coverage={args.coverage}: must be above 0 and at most 1")
    for name, least in (("head", 1), ("batch", 1), ("strict", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise ConfigError(f"{name}={value}: must be {least} or more")
    for name in ("tolerance", "max_worse"):
        if not 0 <= getattr(args, name) <= 1:
            raise ConfigError(f"{name}={getattr(args, name)}: must be between 0 and 1")
    plan_rewriter(args.agent, args)
    if args.judge != "auto":
        with about("judge", args.judge):
            check_judge(args.judge, args.judge_options())


def guard_judge(args: BuildArgs, opened: OpenRewriter) -> str:
    """Name of the judge of the guard; it is said where it is not named."""
    if args.judge != "auto":
        return args.judge
    if auto_judge(opened.shop) == "labels":
        return "labels"
    spec = auto_reporter(opened.plan.trained_by, retriever_uses_encoder(opened.plan.retriever))
    trained = f", trained by {opened.plan.trained_by!r}" if opened.plan.trained_by else ""
    print_message(f"guard: judge {spec!r}{trained}")
    return spec


def encoder_of(args: BuildArgs, judge: str) -> TextEncoder | None:
    """The sentence encoder, where the judge compares vectors."""
    return default_encoder(args.encoder) if needs_encoder(judge) else None


def file_of(args: BuildArgs) -> Path:
    """The SQLite file that is built; for a table in Redis it is kept in the cache."""
    if not is_redis(args.out):
        return Path(args.out).expanduser()
    root = Path(args.cache).expanduser() if args.cache else cache_root()
    return root / "tables" / f"{parse_url(args.out)[1]}.db"


def choose_queries(args: BuildArgs, opened: OpenRewriter) -> list[AskedQuery]:
    """The queries of the table, the most frequent first, each once, without those that hold personal data.

    Raises:
        ConfigError: there is none.
    """
    if args.log is not None:
        asked = read_table(args.log, args.read_options())
    else:
        asked = [AskedQuery(query.text, query.frequency) for query in opened.shop.all_queries]
    searches: dict[str, float] = {}
    texts: dict[str, str] = {}
    masked = 0
    for one in asked:
        if mask_text(one.text) != one.text:
            masked += 1
            continue
        key = text_key(one.text)
        texts.setdefault(key, one.text)
        searches[key] = searches.get(key, 0.0) + one.frequency
    if masked:
        print_message(f"note: {masked:,} queries hold an e-mail address, a phone or a card number: left out")
    order = sorted((-count, key) for key, count in searches.items())
    chosen = [AskedQuery(texts[key], -count) for count, key in order]
    if not chosen:
        raise ConfigError(f"{opened.shop!r} has no query to build a table of: name a log")
    return head(chosen, args.head, args.coverage)


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


def plan_of(
    args: BuildArgs,
    opened: OpenRewriter,
    judge: str,
    rules: Rules,
    guard: GuardSettings,
    asked: Sequence[AskedQuery],
) -> JsonDict:
    """What the table is built from; an interrupted build of another plan is not continued."""
    return {
        "agent": args.agent, "model": opened.version, "shop": opened.shop.name, "shop_hash": opened.shop.hash,
        "products_hash": opened.shop.products_hash, "retriever": opened.plan.retriever, "combine": opened.combine,
        "weight": opened.weight, "judge": judge, "rules": rules.version, "tolerance": guard.tolerance,
        "strict": guard.strict, "queries": len(asked), "searches": sum(one.frequency for one in asked),
    }  # fmt: skip


def product_ids(opened: OpenRewriter) -> list[str]:
    """Product ids by row."""
    ids: list[str] = opened.shop.products["product_id"].to_pylist()
    return ids


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
    product_ids: list[str]
    """By product row."""

    def __post_init__(self) -> None:
        self._queries = {text_key(query.text): query for query in self.opened.shop.all_queries}

    def rewritten(self, asked: Sequence[AskedQuery]) -> list[Rewritten]:
        """The rewrites after the rules."""
        rows = rewritten_batch(self.opened, [one.text for one in asked], [one.frequency for one in asked])
        return [self.rules.apply(row, self.opened.combine) for row in rows]

    def judged(self, rows: Sequence[Rewritten]) -> list[TableEntry]:
        """The entries: both lists searched and judged."""
        texts = [row.query for row in rows]
        original = self._search(texts, texts)
        changed = self._search(texts, [row.rewrite for row in rows])
        queries = [self._queries.get(text_key(text), Query(-1, "", text)) for text in texts]
        return judge_rows(rows, queries, original, changed, self.product_ids, self.judge, self.guard)

    def _search(self, queries: Sequence[str], rewrites: Sequence[str]) -> Hits:
        opened = self.opened
        return search(opened.retriever, queries, rewrites, opened.combine, opened.weight, DEPTH)


def write_entries(
    writer: TableWriter, build: Build, asked: Sequence[AskedQuery], batch: int, old: SqliteTable | None
) -> None:
    """Write the entries that an interrupted build lacks; what the old table knows of unchanged rewrites is reused."""
    done = writer.done()
    left = [one for one in asked if text_key(one.text) not in done]
    reusable = old if old is not None and judged_alike(old.facts, writer.plan) else None
    reused = 0
    with tqdm(total=len(asked), initial=len(asked) - len(left), desc="table", unit="query") as bar:
        for part in parts(left, batch):
            rows = build.rewritten(part)
            known = [reused_entry(reusable, row, build.guard) for row in rows]
            fresh = iter(build.judged([row for row, entry in zip(rows, known, strict=True) if entry is None]))
            writer.add(next(fresh) if entry is None else entry for entry in known)
            reused += sum(entry is not None for entry in known)
            bar.update(len(part))
    if reused:
        print_message(f"{reused:,} of {len(left):,} entries have the rewrite of the old table: not judged again")


def parts(asked: Sequence[AskedQuery], size: int) -> Iterator[Sequence[AskedQuery]]:
    """Slices of at most `size`."""
    for start in range(0, len(asked), size):
        yield asked[start : start + size]


def judged_alike(facts: TableFacts, plan: JsonDict) -> bool:
    """Whether engine, products, judge and guard are those of the old table, so that its verdicts hold."""
    names = ("products_hash", "shop_hash", "retriever", "combine", "weight", "judge", "tolerance", "strict")
    return all(facts.plan.get(name) == plan[name] for name in names)


def reused_entry(old: SqliteTable | None, row: Rewritten, guard: GuardSettings) -> TableEntry | None:
    """The old entry, with the new model's name, where it has the same rewrite by the same source and frequency."""
    entry = old.look_up([row.query])[0] if old is not None else None
    if entry is None or (entry.rewritten.rewrite, entry.rewritten.source) != (row.rewrite, row.source):
        return None
    strict_before, strict_now = (one >= guard.strict for one in (entry.rewritten.frequency, row.frequency))
    return replace(entry, rewritten=row) if strict_before == strict_now or not guard.strict else None


def refuse_worse(args: BuildArgs, comparison: Comparison, part: Path) -> None:
    """Print what would change; raise ConfigError where too much of the traffic would get a worse answer."""
    print_message("\n".join(comparison_lines(comparison)))
    if comparison.worse_share > args.max_worse and not args.force:
        raise ConfigError(
            f"{comparison.worse_share:.1%} of the traffic would get an answer that is judged worse (max_worse="
            f"{args.max_worse:g}): the old table stays; look at the worst above, add rules, or take it with force (the "
            f"new one is kept as {part})"
        )


def report(
    args: BuildArgs,
    facts: TableFacts,
    entries: Sequence[TableEntry],
    rules: Rules,
    comparison: Comparison | None,
    seconds: float,
) -> None:
    """Print and write the figures."""
    searches = sum(entry.rewritten.frequency for entry in entries)
    rewritten = [entry for entry in entries if not entry.rewritten.kept]
    served = [entry for entry in rewritten if entry.passed]
    traffic = sum(entry.rewritten.frequency for entry in served)
    gains = [(entry.judged.gain or 0.0) * entry.rewritten.frequency for entry in served]
    figures: JsonDict = {
        "table": args.out, "version": facts.version, "queries": facts.rows, "rewritten": len(rewritten),
        "served": len(served), "served_traffic": traffic / searches if searches else 0.0,
        "mean_gain": sum(gains) / searches if searches else 0.0, "rules": dict(rules.fired),
        "seconds": round(seconds, 1), "plan": facts.plan,
    }  # fmt: skip
    if comparison is not None:
        figures["changed_traffic"], figures["worse_traffic"] = comparison.changed_share, comparison.worse_share
    write_json(args.json, stamped(figures))
    if args.json == "-":
        return
    fired = ", ".join(f"{name} {count:,}" for name, count in rules.fired.items())
    print(
        f"{facts.rows:,} queries, {len(rewritten):,} rewritten, {len(served):,} of them served: "
        f"{figures['served_traffic']:.1%} of the traffic; judged {figures['mean_gain']:+.4f} nDCG@10 over all of it"
    )
    if fired:
        print(f"rules that changed an answer: {fired}")
    print(f"{args.out}   version {facts.version[:12]}   {seconds:.1f} s")
    open_table(args.out).close()
