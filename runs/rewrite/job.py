"""`qr rewrite`: rewrite queries with any rewriter. Its flags are in `runs/rewrite/args.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from tqdm import tqdm

from agents.serving.exports.base import LeftOut, SearchMode
from agents.serving.exports.factory import PARQUET, SUFFIXES, text_format, write_export
from agents.serving.rewritten import Rewritten
from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from runs.common.checks import check_file, check_folder, check_output
from runs.common.serving.queries import AskedQuery, batches, read_table, standard_input
from runs.common.serving.rewriter import OpenRewriter, open_rewriter, plan_rewriter
from runs.common.serving.rows import rewritten_batch
from runs.rewrite.args import Args


def main(args: Args) -> None:
    """Rewrite all queries, and write them in their order."""
    chosen = check_inputs(args)
    total, asked = queries_of(args)
    opened = open_rewriter(args.agent, args)
    mode = SearchMode(opened.combine, opened.weight)
    bar = tqdm(total=total, desc="rewrite", unit="query", disable=None if args.out or total else True)
    rows = rewritten_rows(opened, asked, args.limit, bar)
    if args.out is not None:
        exported = write_export(chosen, rows, args.out, mode)
        bar.close()
        files = ", ".join(map(str, exported.files))
        print_message(f"{exported.rows:,} rows written: {files}")
        tell_left_out(exported.left_out)
        return
    written = text_format(chosen, mode)
    sys.stdout.write(written.head())
    for row in rows:
        sys.stdout.write(written.row(row))
        sys.stdout.flush()
    bar.close()
    tell_left_out(written.left_out)


def check_inputs(args: Args) -> str:
    """The format; raises what is wrong with rewriter, files and format before anything is loaded."""
    chosen = args.format or (SUFFIXES.get(args.out.suffix.lower(), "text") if args.out else "text")
    if args.out is None and chosen == PARQUET:
        raise ConfigError("format='parquet': a Parquet file cannot be streamed; name a file with out")
    if args.file is not None and args.queries:
        raise ConfigError(f"file={str(args.file)!r} and queries {list(args.queries[:3])}: give one of the two")
    if args.file is not None:
        check_file("file", args.file)
    for name, least in (("batch", 1), ("limit", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise ConfigError(f"{name}={value}: must be {least} or more")
    check_output("out", args.out)
    check_folder("cache", args.cache)
    plan_rewriter(args.agent, args)
    return chosen


def queries_of(args: Args) -> tuple[int | None, Iterable[list[AskedQuery]]]:
    """(number of queries, None where it is not known; batches of them)."""
    if not args.file and not args.queries:
        if sys.stdin.isatty():
            print_message("reading queries from the terminal, a line a query; Ctrl-D ends")
        return None, standard_input(args.batch, args.read_options(), sys.stdin.fileno())
    asked = read_table(args.file, args.read_options()) if args.file else [AskedQuery(text) for text in args.queries]
    if args.limit is not None:
        asked = asked[: args.limit]
    return len(asked), batches(asked, args.batch)


def rewritten_rows(
    opened: OpenRewriter, asked: Iterable[list[AskedQuery]], limit: int | None, bar: tqdm
) -> Iterator[Rewritten]:
    """The rewrites in the order of the queries; a batch is rewritten when its first row is asked for."""
    left = limit
    for part in asked:
        if left is not None:
            part = part[:left]
            left -= len(part)
        yield from rewritten_batch(opened, [one.text for one in part], [one.frequency for one in part])
        bar.update(len(part))
        if left == 0:
            return


def tell_left_out(left_out: LeftOut) -> None:
    """One message a reason."""
    for reason, count in left_out.reasons.items():
        print_message(f"note: {count:,} left out: {reason}")
