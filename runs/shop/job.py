"""`qr shop`: describe a shop, and write it as files. Its flags are in `runs/shop/args.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from judges.factory import needs_encoder
from qr_env.common.atomic_io import atomic_write
from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from qr_env.evaluation.engine_outcome import EngineCheck
from qr_env.evaluation.shop_difficulty import describe
from qr_env.retrieval.bm25_spec import settings_json
from qr_env.shop.load import load_shop
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import write_shop
from runs.common.checks import check_output
from runs.common.engine_check import full_check, has_vectors
from runs.common.output import write_json
from runs.shop.args import Args
from runs.shop.engine_table import print_engine_check

Facts = dict[str, Any]
"""The description of a shop, see `qr_env.evaluation.shop_difficulty.describe`."""
SAMPLE_COLUMNS = ("slice", "query", "oracle", "relevant title")


def main(args: Args) -> None:
    """Load the shop; write, describe and print it."""
    check_outputs(args)
    shop = load_shop(args.source, args.data, args.seed, args.read_options())
    if args.write is not None:
        write_to_new_folder(shop, args.write)
    facts = describe(shop, args.split, args.samples, args.seed)
    check = run_engine_check(args, shop) if args.check_engine else None
    if check is not None:
        facts["engine check"] = check.to_json()
    write_json(args.json, facts)
    if args.json != "-":
        print_facts(facts)
        if check is not None:
            print_engine_check(check)


def check_outputs(args: Args) -> None:
    """Refuse files and folders that cannot be written, before the shop is read."""
    if args.engine_out is not None and not args.check_engine:
        raise ConfigError("--engine-out writes what --check-engine finds: give --check-engine too")
    check_output("json", args.json)
    check_output("engine_out", args.engine_out)
    folder = args.write
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--write {folder} exists and is not empty; name a new folder")


def run_engine_check(args: Args, shop: Shop) -> EngineCheck:
    """Compare the engines, and write the settings file."""
    has_dense = args.dense or has_vectors(shop)
    if has_dense and needs_encoder(args.engine_judge):
        if args.dense:
            raise ConfigError(
                f"--engine-judge {args.engine_judge} grades by the encoder that --dense searches with; take fields or "
                "coverage, or leave --dense out"
            )
        has_dense = False
    check = full_check(shop, args.engine_judge, has_dense, args.seed)
    if args.engine_out is not None:
        atomic_write(args.engine_out, json.dumps(settings_json(check.served.settings), indent=2) + "\n")
        print_message(f"written: {args.engine_out.resolve()}")
    return check


def write_to_new_folder(shop: Shop, folder: Path) -> None:
    """Write the shop's files into a folder that is new or empty."""
    write_shop(shop, folder)
    print_message(f"written: {folder.resolve()}")


def print_facts(facts: Facts) -> None:
    """Print name, sizes, difficulty and samples."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(f"[bold]{escape(facts['name'])}[/bold]  {facts['hash'][:16]}")
    console.print(sizes_table(facts))
    if facts["difficulty"]:
        console.print(difficulty_table(facts["difficulty"]))
        console.print(samples_table(facts["samples"]))


def sizes_table(facts: Facts) -> Table:
    """Numbers of products, queries, labels and purchases."""
    table = Table(title="Sizes", title_justify="left", show_header=False)
    products, labels = facts["products"], facts["labels"]
    known = ", ".join(f"{name} {100 * share:.0f} %" for name, share in products["known"].items() if share)
    table.add_row("language", escape(facts["language"]))
    table.add_row("products", f"{products['products']:,} ({products['title words']:.1f} words a title)")
    table.add_row("known fields", known or "–")
    for split, counts in facts["queries"].items():
        searches = f"{counts['searches']:,.0f} searches, {counts['with labels']:,} with labels"
        table.add_row(f"{split} queries", f"{counts['queries']:,} ({searches})")
    levels = ", ".join(f"{level} {count:,}" for level, count in labels["levels"].items())
    kind = "every pair is graded; stored" if labels["complete"] else "graded pairs"
    table.add_row("labels", f"{labels['pairs']:,} {kind} ({levels})" if labels["pairs"] else "none")
    table.add_row("purchases", ", ".join(f"{count:,} {source}" for source, count in facts["purchases"].items()))
    return table


def difficulty_table(rows: list[Facts]) -> Table:
    """How hard the queries are for BM25, by split and slice."""
    table = Table(
        title="Difficulty for BM25, queries as typed",
        caption="nDCG@10 and R@100: means over queries with labels. Words are stemmed, without stop words.",
        title_justify="left",
        caption_justify="left",
    )
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading in ("split", "slice") else "right")
    for row in rows:
        table.add_row(*(cell_text(name, value) for name, value in row.items()), end_section=row["slice"] == "all")
    return table


def cell_text(name: str, value: object) -> str:
    """A value of the difficulty table: metrics with three decimals, other shares in per cent, counts as they are."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if "@" in name else f"{100 * value:.1f} %"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def samples_table(samples: list[Facts]) -> Table:
    """Sample queries of each slice."""
    headings = [name for name in SAMPLE_COLUMNS if any(name in row for row in samples)]
    table = Table(title="Samples", title_justify="left")
    for heading in headings:
        table.add_column(heading, max_width=60)
    for row in samples:
        table.add_row(*(escape(row.get(heading) or "–") for heading in headings))
    return table
