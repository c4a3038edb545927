"""`qr table export`: the served entries of a table for another system. Its flags are in `runs/table/args.py`."""

from __future__ import annotations

from collections.abc import Iterator

from agents.serving.exports.base import SearchMode
from agents.serving.exports.factory import write_export
from agents.serving.rewritten import Rewritten
from agents.serving.table.entry import RewriteTable
from agents.serving.table.opening import open_table
from qr_env.common.messages import print_message
from runs.common.checks import check_output
from runs.table.args import ExportArgs


def main(args: ExportArgs) -> None:
    """Write the file, and say what was left out."""
    check_output("out", args.out)
    table = open_table(args.table)
    mode = SearchMode(table.facts.plan["combine"], table.facts.plan["weight"])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    exported = write_export(args.format, served_rows(table), args.out, mode)
    for reason, count in exported.left_out.reasons.items():
        print_message(f"note: {count:,} left out: {reason}")
    print(f"{exported.rows:,} rows: {', '.join(map(str, exported.files))}")
    table.close()


def served_rows(table: RewriteTable) -> Iterator[Rewritten]:
    """The rewrites that the table serves, kept queries among them."""
    for entry in table.entries():
        if entry.passed:
            yield entry.rewritten
