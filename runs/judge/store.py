"""`qr judge store`: show, merge, prune and export the verdict store; settings: `runs/judge/args.py`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import rich
from rich.table import Table

from judges.verdict_store import maintenance
from judges.verdict_store.file import store_file
from judges.verdict_store.store import VerdictStore
from qr_env.common.download import cache_root
from qr_env.common.errors import StoreError
from runs.common.output import write_json
from runs.judge.args import StoreArgs


def main(args: StoreArgs) -> None:
    """Merge, prune, export and show, as far as asked for, and print what was done."""
    file = store_file(args.store or default_store())
    if not file.exists() and not args.merge:
        raise StoreError(f"{file}: there is no verdict store; give --store, or run with a judge first")
    with VerdictStore(file, read_only=not (args.merge or args.prune)) as store:
        report = _run(args, store)
    if args.json != "-":
        _print_report(report)
    write_json(args.json, report)


def default_store() -> Path:
    """The folder of the verdict store where no other is given."""
    return cache_root() / "verdicts"


def _run(args: StoreArgs, store: VerdictStore) -> dict[str, Any]:
    """Do what the settings ask for; a report by name of the action."""
    report: dict[str, Any] = {"store": str(store.path)}
    if args.merge:
        report["merged"] = {str(other): maintenance.merge(store, other) for other in args.merge}
    if args.prune:
        criteria = (args.fingerprint, args.older_than, args.unused)
        name = "would be pruned" if args.dry_run else "pruned"
        report[name] = maintenance.prune(store, *criteria, dry_run=args.dry_run)
    if args.export:
        report["exported"] = maintenance.export(store, args.export, args.fingerprint)
    if args.stats or len(report) == 1:
        size = store.stats()
        report |= {name: size[name] for name in ("verdicts", "texts", "bytes")}
        report |= {"judges": store.judges(), "errors": maintenance.integrity_errors(store)}
    return report


def _print_report(report: dict[str, Any]) -> None:
    print(report["store"])
    for file, counts in report.get("merged", {}).items():
        print(f"  merged {file}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    for name in ("would be pruned", "pruned", "exported"):
        if name in report:
            print(f"  {report[name]:,} verdicts {name}")
    if "judges" in report:
        size = f"{report['bytes'] / 2**20:,.1f} MiB"
        print(f"  {report['verdicts']:,} verdicts, {report['texts']:,} texts, {size}")
        errors = report["errors"]
        print(f"  damaged: {'; '.join(errors)}" if errors else "  no errors (integrity_check)")
        _print_judges(report["judges"])


def _print_judges(judges: list[dict[str, Any]]) -> None:
    table = Table()
    for heading in ("judge", "verdicts", "lookups", "hit rate", "first", "last", "shops"):
        table.add_column(heading, justify="left" if heading == "judge" else "right", overflow="fold")
    for row in judges:
        rate = f"{100 * row['hits'] / row['asked']:.1f} %" if row["asked"] else "–"
        days = [time.strftime("%Y-%m-%d", time.gmtime(row[name])) if row[name] else "–" for name in ("first", "last")]
        figures = (f"{row['verdicts']:,}", f"{row['asked']:,}", rate, *days, str(len(row["shops"])))
        table.add_row(row["fingerprint"], *figures)
    rich.print(table)
