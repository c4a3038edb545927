"""The verdict store: what is known already, take it along, put stores together, throw away.

qr judge store --stats                                      # size, verdicts and hit rate of each judge, soundness
qr judge store --export verdicts.parquet                    # or .jsonl: verdicts with the texts that were judged
qr judge store --merge gpu-box.sqlite old/verdicts.sqlite   # of a pair with two verdicts the first is kept
qr judge store --prune --unused 90 --dry-run                # criteria add up: --fingerprint, --older-than, --unused
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from qr_env.common.errors import StoreError
from runs.common.cli import run, write_json

if TYPE_CHECKING:
    from judges.verdict_store.store import VerdictStore


@dataclass
class Args:
    """Which store, and what to do with it: merge, then prune, then export, then show."""

    store: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder of the store, or its file; default $QR_CACHE/verdicts, else ~/.cache/qr-env/verdicts."""
    stats: bool = False
    """Show size, judges, hit rates, and check the file; this is also what happens where nothing else is asked."""
    merge: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE…")] = ()
    """Take in the verdicts of these stores; conflicts are counted, and the verdict of --store stays."""
    prune: bool = False
    """Delete the verdicts to which all of --fingerprint, --older-than and --unused that are given apply."""
    fingerprint: str | None = None
    """Prune or export only this judge's."""
    older_than: Annotated[float | None, tyro.conf.arg(metavar="DAYS")] = None
    """Prune what was judged longer ago."""
    unused: Annotated[float | None, tyro.conf.arg(metavar="DAYS")] = None
    """Prune what no run looked up for so long."""
    dry_run: bool = False
    """Only count what --prune would delete."""
    export: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write all verdicts with their texts to FILE.parquet or FILE.jsonl."""
    json: str | None = None
    """Write the report as JSON to this file, "-" for standard output."""


def main(args: Args) -> None:
    """Do what is asked, and say what was done."""
    from judges.verdict_store.file import store_file
    from judges.verdict_store.store import VerdictStore

    file = store_file(args.store or default_store())
    if not file.exists() and not args.merge:
        raise StoreError(f"{file}: there is no verdict store; give --store, or run with a judge first")
    with VerdictStore(file, read_only=not (args.merge or args.prune)) as store:
        report = _report(args, store)
    if args.json != "-":
        _show(report)
    write_json(args.json, report)


def default_store() -> Path:
    """The folder where verdicts are kept where no other is named."""
    from qr_env.common.download import cache_root

    return cache_root() / "verdicts"


def _report(args: Args, store: VerdictStore) -> dict[str, Any]:
    """What was done, by name."""
    from judges.verdict_store import maintenance as cache_upkeep

    report: dict[str, Any] = {"store": str(store.path)}
    if args.merge:
        report["merged"] = {str(other): cache_upkeep.merge(store, other) for other in args.merge}
    if args.prune:
        wanted = (args.fingerprint, args.older_than, args.unused)
        name = "would be pruned" if args.dry_run else "pruned"
        report[name] = cache_upkeep.prune(store, *wanted, dry_run=args.dry_run)
    if args.export:
        report["exported"] = cache_upkeep.export(store, args.export, args.fingerprint)
    if args.stats or len(report) == 1:
        size = store.stats()
        report |= {name: size[name] for name in ("verdicts", "texts", "bytes")}
        report |= {"judges": store.judges(), "damage": cache_upkeep.integrity_errors(store)}
    return report


def _show(report: dict[str, Any]) -> None:
    print(report["store"])
    for file, counts in report.get("merged", {}).items():
        print(f"  merged {file}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    for name in ("would be pruned", "pruned", "exported"):
        if name in report:
            print(f"  {report[name]:,} verdicts {name}")
    if "judges" in report:
        size = f"{report['bytes'] / 2**20:,.1f} MiB"
        print(f"  {report['verdicts']:,} verdicts, {report['texts']:,} texts, {size}")
        print(f"  damaged: {'; '.join(report['damage'])}" if report["damage"] else "  sound (integrity_check)")
        _show_judges(report["judges"])


def _show_judges(judges: list[dict[str, Any]]) -> None:
    import rich
    from rich.table import Table

    table = Table()
    for heading in ("judge", "verdicts", "looked up", "hit rate", "first", "last", "shops"):
        table.add_column(heading, justify="left" if heading == "judge" else "right", overflow="fold")
    for row in judges:
        rate = f"{100 * row['hits'] / row['asked']:.1f} %" if row["asked"] else "–"
        days = [time.strftime("%Y-%m-%d", time.gmtime(row[name])) if row[name] else "–" for name in ("first", "last")]
        figures = (f"{row['verdicts']:,}", f"{row['asked']:,}", rate, *days, str(len(row["shops"])))
        table.add_row(row["fingerprint"], *figures)
    rich.print(table)


if __name__ == "__main__":
    run(Args, main, description=__doc__)
