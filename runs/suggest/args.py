"""Choose the constants of the rewriter `suggest` for a shop, by a judge's mean over its queries; no label is used.

    qr suggest my_shop --out suggest.json                  # how many words, how heavy, to which queries
    qr evaluate --shop my_shop --judge embedding --agent suggest suggest:suggest.json

Every setting of a grid is searched over the same queries, and compared with the default by a paired bootstrap. The
default stays unless the best setting is better beyond its 95 % interval. Where queries of --label-split have human
labels, they do not choose; the last lines say how far they would rank the settings as the judge does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro.conf

from runs.common.judge_server import JudgeServerArgs
from runs.common.reading import ReadArgs


@dataclass
class Args(JudgeServerArgs, ReadArgs):
    """Shop, search engine, judge and queries of the choice."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SHOP")] = "generated"
    """generated, icecat, esci, wands, or the path of a folder or products file"""
    out: Path = Path("suggest.json")
    """file for the chosen settings and the means of all settings, which --agent suggest:FILE reads"""
    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    """search engine that the rewrites are for"""
    judge: str = "blend"
    """source of the grades, best one without labels: blend[:WEIGHTS], coverage, embedding, llm, cross-encoder[:MODEL],
    replay, ensemble:A,B, pessimistic:A,B"""
    split: tuple[Literal["train", "dev"], ...] = ("train", "dev")
    """splits of the queries that choose; test queries never do"""
    limit: int = 1000
    """maximum number of queries that choose, and of labelled ones that are compared, drawn by the seed; 500 or more are
    advised"""
    label_split: Literal["train", "dev", "test"] = "test"
    """split whose labelled queries, where there are any, are compared with the judge's ranking"""
    combine: Literal["replace", "expand", "union"] = "expand"
    """how rewrites are combined with the original query"""
    weight: float = 1.0
    """weight of the original's words in "expand"; added words are scaled with it"""
    titles: int = 20
    """number of titles of the second engine that give a query its words"""
    seed: int = 0
    """of the drawn queries and the bootstrap"""
    encoder: str = "minilm-l6"
    """sentence encoder of dense, hybrid, the second engine of bm25, and the judges"""
    cache: str | None = None
    """folder that keeps indexes and vectors between runs (default: $QR_CACHE, else ~/.cache/qr-env)"""
