"""`qr table look`: all that a table holds about queries. Its flags are in `runs/table/args.py`."""

from __future__ import annotations

import json

from agents.serving.table.opening import open_table
from runs.table.args import LookArgs
from runs.table.text import entry_lines


def main(args: LookArgs) -> None:
    """Print the entries; without queries, what the table was built from."""
    table = open_table(args.table)
    if not args.queries:
        facts = {"version": table.facts.version, "rows": table.facts.rows, "built": table.facts.built}
        print(json.dumps(facts | table.facts.plan, indent=2, ensure_ascii=False))
    for query, entry in zip(args.queries, table.look_up(args.queries), strict=True):
        if args.json:
            print(json.dumps({"query": query, "entry": None}) if entry is None else entry.as_text())
        else:
            print("\n".join(entry_lines(query, entry)))
    table.close()
