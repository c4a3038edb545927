"""`qr table diff`: what two tables serve differently. Its flags are in `runs/table/args.py`."""

from __future__ import annotations

from dataclasses import asdict

from agents.serving.table.compare import compare
from agents.serving.table.opening import open_table
from qr_env.common.messages import print_message
from runs.common.output import write_json
from runs.table.args import DiffArgs
from runs.table.entries import same_products
from runs.table.text import comparison_lines


def main(args: DiffArgs) -> None:
    """Compare, print, write."""
    old, new = open_table(args.old), open_table(args.new)
    found = compare(old.entries(), new.entries())
    shares = {"changed_share": found.changed_share, "worse_share": found.worse_share, "mean_gain": found.mean_gain}
    write_json(args.json, {"old": old.version, "new": new.version, **shares, **asdict(found)})
    if not same_products(old.facts, new.facts):
        print_message("note: the tables were judged by different judges, or on other engines or products")
    if args.json != "-":
        print("\n".join([f"{args.old} {old.version[:12]} → {args.new} {new.version[:12]}", *comparison_lines(found)]))
    old.close()
    new.close()
