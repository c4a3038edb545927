"""What `qr shop` does; its settings, and the commands, are in `runs/shop/args.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from runs.common.cli import write_json
from runs.shop.args import Args

if TYPE_CHECKING:
    from rich.console import Console

    from qr_env.shop.shop import Shop


def main(args: Args) -> None:
    """Load, describe, print."""
    from qr_env.evaluation.shop_difficulty import describe
    from qr_env.shop.load import load_shop

    shop = load_shop(args.source, data=args.data, seed=args.seed, on_bad_row=args.on_bad_row)
    for note in shop.report.notes if shop.report else []:
        print_message(f"note: {note}")
    if args.write is not None:
        _write(shop, args.write)
    facts = describe(shop, args.split, args.samples, args.seed)
    write_json(args.json, facts)
    if args.json != "-":
        _print(facts)


def _write(shop: Shop, folder: Path) -> None:
    """A new folder; one that holds something is not written over."""
    from qr_env.shop.sources.files import write_shop

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--write {folder}: is there and not empty; name a new folder")
    write_shop(shop, folder)
    print_message(f"written: {folder.resolve()}")


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(f"[bold]{_plain(facts['name'])}[/bold]  {facts['hash'][:16]}")
    _print_sizes(console, facts)
    if facts["difficulty"]:
        _print_difficulty(console, facts["difficulty"])
        _print_samples(console, facts["samples"])


def _print_sizes(console: Console, facts: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title="Sizes", title_justify="left", show_header=False)
    products, labels = facts["products"], facts["labels"]
    known = ", ".join(f"{name} {100 * share:.0f} %" for name, share in products["known"].items() if share)
    table.add_row("products", f"{products['products']:,} ({products['title words']:.1f} words a title)")
    table.add_row("known of them", known or "–")
    for split, counts in facts["queries"].items():
        searches = f"{counts['searches']:,.0f} searches, {counts['with labels']:,} with labels"
        table.add_row(f"{split} queries", f"{counts['queries']:,} ({searches})")
    levels = ", ".join(f"{level} {count:,}" for level, count in labels["levels"].items())
    what = "every pair is graded; stored" if labels["complete"] else "graded pairs"
    table.add_row("labels", f"{labels['pairs']:,} {what} ({levels})" if labels["pairs"] else "none")
    table.add_row("purchases", ", ".join(f"{count:,} {source}" for source, count in facts["purchases"].items()))
    console.print(table)


def _print_difficulty(console: Console, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(
        title="Difficulty for BM25, queries as typed",
        caption="nDCG@10 and R@100: means over queries with labels. Words are stemmed, without stop words.",
        title_justify="left",
        caption_justify="left",
    )
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading in ("split", "slice") else "right")
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in row.items()), end_section=row["slice"] == "all")
    console.print(table)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if "@" in name else f"{100 * value:.1f} %"
    return f"{value:,}" if isinstance(value, int) else _plain(value)


def _print_samples(console: Console, samples: list[dict[str, Any]]) -> None:
    from rich.table import Table

    headings = [name for name in ("slice", "query", "oracle", "relevant title") if any(name in row for row in samples)]
    table = Table(title="Samples", title_justify="left")
    for heading in headings:
        table.add_column(heading, max_width=60)
    for row in samples:
        table.add_row(*(_plain(row.get(heading) or "–") for heading in headings))
    console.print(table)


def _plain(text: str) -> str:
    """Text of the shop, shown as it is: its square brackets are no markup."""
    from rich.markup import escape

    return escape(text)
