"""`qr table build`: rewrite and judge the queries of a log. Its flags are in `runs/table/args.py`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from agents.serving.rules import Rules
from agents.serving.table.compare import Comparison, compare
from agents.serving.table.entry import RewriteTable, TableEntry, TableFacts
from agents.serving.table.guard import UNPROVEN, GuardSettings
from agents.serving.table.opening import is_redis, open_table
from agents.serving.table.redis_table import connect, has_table, parse_url, publish_to_redis
from agents.serving.table.sqlite_table import SqliteTable, TableWriter
from judges.checks import check_judge
from judges.factory import auto_judge, needs_encoder, open_judge
from qr_env.common.download import cache_root
from qr_env.common.errors import ConfigError, DataError
from qr_env.common.hashing import sha256_text
from qr_env.common.messages import print_message
from qr_env.common.protocols import TextEncoder
from qr_env.common.text_keys import text_key
from qr_env.common.types import JsonDict
from qr_env.retrieval.factory import default_encoder, retriever_uses_encoder
from runs.common.checks import about, check_file, check_folder, check_output
from runs.common.output import write_json
from runs.common.serving.rewriter import OpenRewriter, open_rewriter, plan_rewriter
from runs.common.timing import stamped
from runs.online.evaluation import auto_reporter
from runs.table.args import BuildArgs
from runs.table.entries import Before, Build, fired_rules, write_entries
from runs.table.queries import Chosen, choose_queries
from runs.table.text import comparison_lines, rule_lines


def main(args: BuildArgs) -> None:
    """Build, compare, publish."""
    check_inputs(args)
    started = time.perf_counter()
    rules = Rules.read(args.rules) if args.rules else Rules()
    path = file_of(args)
    old = previous_table(args, path)
    opened = open_rewriter(args.agent, args)
    chosen = choose_queries(args, opened, rules)
    judge_spec = guard_judge(args, opened, chosen)
    judge = open_judge(judge_spec, opened.shop, args.judge_options(encoder_of(args, judge_spec)))
    strict = frozenset(text_key(one.text) for one in chosen.queries[: args.strict] if one.frequency)
    plan = plan_of(args, opened, judge_spec, rules, chosen)
    guard = GuardSettings(args.tolerance, args.repeats)
    build = Build(opened, judge, rules, guard, strict, Before.of(old, plan))
    with TableWriter(path, plan) as writer:
        write_entries(writer, build, chosen.queries, args.batch)
        entries = list(writer.entries())
        comparison = compare(old.entries(), entries, args.tolerance) if old else None
        if comparison is not None:
            refuse_worse(args, comparison, writer.part)
        facts = writer.publish()
    if is_redis(args.out):
        publish_to_redis(SqliteTable.open(path), args.out)
    report(args, facts, entries, build.counts, comparison, time.perf_counter() - started)


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
    for name, least in (("head", 1), ("batch", 1), ("strict", 0), ("repeats", 1)):
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


def previous_table(args: BuildArgs, path: Path) -> RewriteTable | None:
    """The table that is compared and taken over from: `previous`, else the one in the place of the new one.

    Raises:
        QrError: it is damaged, and `force` is not given.
    """
    if args.previous:
        return open_table(args.previous)
    if is_redis(args.out):
        return open_table(args.out) if has_table(args.out) else None
    if not path.is_file():
        return None
    if args.force:
        return usable(path)
    return open_table(path)


def usable(path: Path) -> RewriteTable | None:
    """The table, None where it cannot be read: with `force` it is replaced whatever it is."""
    try:
        return open_table(path)
    except DataError as error:
        print_message(f"note: {error}")
        return None


def guard_judge(args: BuildArgs, opened: OpenRewriter, chosen: Chosen) -> str:
    """Name of the judge of the guard; it is said where it is not named."""
    if args.judge != "auto":
        return args.judge
    graded = {text_key(query.text) for query in opened.shop.all_queries}
    if auto_judge(opened.shop) == "labels" and all(text_key(one.text) in graded for one in chosen.queries):
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
    return root / "tables" / f"{parse_url(args.out)[1]}-{sha256_text(args.out, 8)}.db"


def plan_of(args: BuildArgs, opened: OpenRewriter, judge: str, rules: Rules, chosen: Chosen) -> JsonDict:
    """What the table is built from; an interrupted build of another plan is not continued."""
    return {
        "agent": args.agent, "model": opened.version, "shop": opened.shop.name, "shop_hash": opened.shop.hash,
        "products_hash": opened.shop.products_hash, "retriever": opened.plan.retriever, "combine": opened.combine,
        "weight": opened.weight, "judge": judge, "repeats": args.repeats, "rules": rules.version,
        "tolerance": args.tolerance, "strict": args.strict, "queries": len(chosen.queries), "log": chosen.hash,
        "searches": sum(one.frequency for one in chosen.queries), "log_searches": chosen.searches,
    }  # fmt: skip


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
    counts: Counter[str],
    comparison: Comparison | None,
    seconds: float,
) -> None:
    """Print and write the figures."""
    searches = sum(entry.rewritten.frequency for entry in entries)
    rewritten = [entry for entry in entries if not entry.rewritten.kept]
    served = [entry for entry in rewritten if entry.passed]
    traffic = sum(entry.rewritten.frequency for entry in served)
    gains = [(entry.judged.gain or 0.0) * entry.rewritten.frequency for entry in served]
    rules = fired_rules(entries)
    figures: JsonDict = {
        "table": args.out, "version": facts.version, "queries": facts.rows, "rewritten": len(rewritten),
        "served": len(served), "served_traffic": traffic / searches if searches else 0.0,
        "mean_gain": sum(gains) / searches if searches else 0.0, "rules": rules,
        "unproven": sum(entry.why.endswith(UNPROVEN) for entry in entries),
        "asked_rewriter": counts["rewritten"], "asked_judge": counts["judged"],
        "seconds": round(seconds, 1), "plan": facts.plan,
    }  # fmt: skip
    if comparison is not None:
        figures["changed_traffic"], figures["worse_traffic"] = comparison.changed_share, comparison.worse_share
    write_json(args.json, stamped(figures))
    if args.json == "-":
        return
    print(
        f"{facts.rows:,} queries, {len(rewritten):,} rewritten, {len(served):,} of them served: "
        f"{figures['served_traffic']:.1%} of the traffic; judged {figures['mean_gain']:+.4f} nDCG@10 over all of it"
    )
    print(
        f"rewriter asked for {counts['rewritten']:,} queries, judge for {counts['judged']:,}; the others are of the "
        "table before, or of the build that was interrupted"
    )
    if unproven := figures["unproven"]:
        print(
            f"{unproven:,} of the {args.strict:,} most frequent queries are searched as typed although their rewrites "
            "are judged no worse: not proven; --strict 0 serves them, qr table look shows them"
        )
    print("\n".join(rule_lines(rules)), end="\n" if rules else "")
    print(f"{args.out}   version {facts.version[:12]}   {seconds:.1f} s")
