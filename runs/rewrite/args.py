"""Rewrite queries with any rewriter: of a file, of the command line, or of standard input.

    qr rewrite out/mine "navy couch" "keep coffee hot"                # a run folder: the rewriter that it says to serve
    qr rewrite suggest --shop my_shop --file queries.csv --out rewrites.jsonl
    tail -f searches.log | qr rewrite out/mine --format lucene        # a line a query, answered as they come

AGENT is a run folder of qr online, a checkpoint, suggest[:FILE], repair, or any other name of qr evaluate --agent. A
file is a table with a column query (CSV, TSV, JSONL, Parquet …), or a text file with a query a line. Equal queries are
rewritten once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro.conf

from runs.common.serving.args import RewriterArgs


@dataclass
class Args(RewriterArgs):
    """Rewriter, queries and format."""

    agent: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="AGENT")]
    """run folder, checkpoint, or name of a rewriter"""
    queries: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="QUERY")] = ()
    """queries; without any, and without --file, they are read from standard input, a line a query"""
    file: Path | None = None
    """file with the queries"""
    format: Literal[
        "", "text", "jsonl", "csv", "tsv", "parquet", "lucene", "querqy", "querqy-replace", "synonyms", "workbench"
    ] = ""
    """of the output; by default that of the suffix of --out, else text"""
    out: Path | None = None
    """file to write, atomically (default: standard output, written as the rewrites come)"""
    batch: int = 512
    """queries that are rewritten together"""
    limit: int | None = None
    """maximum number of queries"""
