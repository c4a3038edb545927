"""Type rewrites by hand: hits before and after with their grades, and every term of the reward.

    qr play generated
    qr play icecat --retriever hybrid --judge embedding
    printf 'couch\\nsofa\\n' | qr play generated

The first line is a query of your own, or :next for one from the shop's traffic; every line after it is a rewrite of
that query, and an empty one keeps the original. :new asks for another query, :quit (or Ctrl-D) ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro.conf

from qr_env.retrieval.combine import ORIGINAL_WEIGHT


@dataclass
class Args:
    """Which shop to play in, and how a rewrite is searched, graded and paid."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")] = "generated"
    """generated, icecat, esci, wands, or the path of a folder or products file"""
    data: str | None = None
    """folder with the files of icecat, esci or wands (default: $QR_DATA, else download)"""
    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    """how products are found"""
    judge: Literal["labels", "embedding"] = "labels"
    """who grades: the shop's labels (missing for queries of your own), or similarity (grades everything)"""
    combine: Literal["replace", "expand", "union"] = "expand"
    """how a rewrite meets its original"""
    weight: float = ORIGINAL_WEIGHT
    """weight of the original's words in "expand"; the rewrite's is 1"""
    split: Literal["train", "dev", "test", "all"] = "train"
    """which queries :next draws"""
    k: int = 10
    """products a result list"""
    seed: int = 0
    """of the generated shop and the stream"""
    encoder: str = "minilm-l6"
    """sentence encoder of dense, hybrid and the embedding judge"""
    cache: str | None = None
    """folder that keeps indexes and vectors between runs (default: $QR_CACHE, else ~/.cache/qr-env)"""
    json: str | None = None
    """write every rewrite with its hits and terms here as JSON ("-": standard output)"""
