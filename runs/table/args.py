"""Precomputed rewrites: the table from which a shop's service answers the head of its traffic.

qr table build out/mine --out rewrites.db               # the rewrites of the shop's own log, each judged
qr table look rewrites.db "navy couch"                  # all about one entry: words, results, why it is served or not
qr table diff rewrites.db next.db                       # what changes, best, worst, by traffic
qr table export rewrites.db --format querqy --out rules.txt
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro.conf

from runs.common.judge_server import JudgeServerArgs
from runs.common.serving.args import RewriterArgs

Format = Literal[
    "text", "jsonl", "csv", "tsv", "parquet", "lucene", "querqy", "querqy-replace", "synonyms", "workbench"
]


@dataclass
class BuildArgs(JudgeServerArgs, RewriterArgs):
    """Rewrite the queries of a log, judge every rewrite, and write the table.

    qr table build out/mine --out rewrites.db                            # a run folder: what it says to serve
    qr table build suggest --shop my_shop --head 10000 --out rewrites.db
    qr table build out/next --out rewrites.db --rules rules.yaml         # the weekly refresh, compared with last week's
    qr table build out/mine --out 'redis://127.0.0.1:6379/0?name=rewrites'

    A table that is in OUT already is compared first, and stays where the new one would be worse for too much of the
    traffic; else it stays beside the new one as OUT.previous. With the same model and shop only queries that the old
    table lacks are rewritten; judged are only those whose rewrite changed. A build that was stopped goes on where it
    was. Queries that hold an e-mail address, a phone or a card number are left out.
    """

    agent: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="AGENT")]
    """run folder, checkpoint, or name of a rewriter (qr evaluate --agent)"""
    out: str = "rewrites.db"
    """file of the table, or redis://HOST:PORT/0?name=NAME (a file of this name is then kept in --cache)"""
    log: Path | None = None
    """file with queries and how often each was searched (default: the shop's own queries)"""
    head: int | None = None
    """number of queries, the most frequent first (default: all)"""
    coverage: float | None = None
    """share of all searches that the queries are to cover, the most frequent first, such as 0.8"""
    judge: str = "auto"
    """judge of the guard; auto: labels where the shop knows every grade, else one that did not train the rewriter"""
    tolerance: float = 0.01
    """loss of the judge's nDCG@10 that counts as none"""
    strict: int = 100
    """number of most frequent queries whose rewrites must be proven to be no worse, by the interval"""
    repeats: int = 1
    """times that the judge is asked about a list, for one that answers differently each time (llm without --store)"""
    rules: Path | None = None
    """the merchandiser's rules, a YAML file (agents/serving/rules.py): never, protected, forbidden, overrides"""
    previous: str = ""
    """table to compare with and to take over from, a file or URL (default: the one in OUT)"""
    max_worse: float = 0.02
    """refuse to replace the table in OUT where more than this share of the traffic would get an answer judged worse"""
    force: bool = False
    """replace it all the same"""
    batch: int = 500
    """queries that are rewritten, searched and judged together"""
    json: str | None = None
    """write the figures here as JSON ("-": standard output)"""


@dataclass
class LookArgs:
    """Show all that a table holds about queries.

    qr table look rewrites.db "navy couch" "sofa bed"
    qr table look rewrites.db                               # what the table was built from
    """

    table: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TABLE")]
    """file, or redis://HOST:PORT/0?name=NAME"""
    queries: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="QUERY")] = ()
    """queries"""
    json: bool = False
    """print the entries as JSON, one a line"""


@dataclass
class DiffArgs:
    """Compare what two tables serve: added, removed and changed queries, the best and the worst, by traffic.

    qr table diff rewrites.db next.db
    """

    old: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OLD")]
    """file or URL of the table that is served"""
    new: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NEW")]
    """file or URL of the table that would be"""
    json: str | None = None
    """write the figures here as JSON ("-": standard output)"""


@dataclass
class ExportArgs:
    """Write the served entries of a table for another system.

    qr table export rewrites.db --format querqy --out rules.txt          # Querqy's common rules
    qr table export rewrites.db --format synonyms --out synonyms.txt     # Solr, Elasticsearch, OpenSearch
    qr table export rewrites.db --format workbench --out queries.ndjson  # OpenSearch's Search Relevance Workbench

    Formats: agents/serving/exports/factory.py. What a format cannot say is left out and counted.
    """

    table: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TABLE")]
    """file, or redis://HOST:PORT/0?name=NAME"""
    out: Path
    """file to write"""
    format: Format = "jsonl"
    """format of the file"""


PARTS: dict[str, tuple[type, str, str]] = {
    "build": (BuildArgs, "runs.table.build", "rewrite and judge the queries of a log; compare with the old table"),
    "look": (LookArgs, "runs.table.look", "show all that a table holds about queries"),
    "diff": (DiffArgs, "runs.table.diff", "what two tables serve differently, by traffic"),
    "export": (ExportArgs, "runs.table.export", "for Querqy, Solr, Elasticsearch, OpenSearch, Lucene, spreadsheets"),
}
