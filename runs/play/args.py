"""Type rewrites by hand: result lists before and after with their grades, and every term of the reward.

    qr play generated
    qr play icecat --retriever hybrid --judge embedding
    printf 'couch\\nsofa\\n' | qr play generated

The first line is a query of your own, or :next for one from the shop's traffic. Every line after it is a rewrite of
that query; an empty line keeps the original. :new asks for another query, :quit (or Ctrl-D) ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro.conf

from runs.common.reading import ReadArgs


@dataclass
class Args(ReadArgs):
    """Shop, search engine, judge and reward of the session."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")] = "generated"
    """generated, icecat, esci, wands, or the path of a folder or products file"""
    retriever: str = "bm25"
    """search engine: bm25[:SETTINGS], dense, hybrid or splade"""
    judge: Literal["labels", "blend", "embedding", "coverage"] = "labels"
    """source of the grades: the shop's labels (missing for queries of your own); or similarity, the share of the
    query's words in a title, or their blend, which grade everything"""
    combine: Literal["replace", "expand", "union"] = "expand"
    """how a rewrite is combined with the original query"""
    weight: float = 1.0
    """weight of the original's words in "expand"; the rewrite's is 1"""
    split: Literal["train", "dev", "test", "all"] = "train"
    """split from which :next draws queries"""
    k: int = 10
    """length of the result lists"""
    seed: int = 0
    """seed of the generated shop and the query stream"""
    encoder: str = "minilm-l6"
    """sentence encoder of dense, hybrid and the embedding judge"""
    cache: str | None = None
    """folder that keeps indexes and vectors between runs (default: $QR_CACHE, else ~/.cache/qr-env)"""
    json: str | None = None
    """write every rewrite with its result lists and reward terms here as JSON ("-": standard output)"""
