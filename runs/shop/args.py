"""Describe a shop: sizes, labels, how hard its queries are for BM25, and samples by slice.

qr shop generated
qr shop icecat --data ../shared/data
qr shop my_folder --on-bad-row skip --json shop.json
qr shop generated --write my_shop                      # as Parquet files, to look into and to start your own from
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro.conf


@dataclass
class Args:
    """Which shop, and what to show of it."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")] = "generated"
    """generated, icecat, esci, wands, or the path of a folder or products file"""
    data: str | None = None
    """folder with the files of icecat, esci or wands (default: $QR_DATA, else download)"""
    split: Literal["all", "train", "dev", "test"] = "all"
    """which queries the difficulty table and the samples are of"""
    samples: int = 3
    """queries to show of each slice"""
    seed: int = 0
    """of the generated shop and the draw of samples"""
    on_bad_row: Literal["stop", "skip"] = "stop"
    """stop at the first dirty row, or leave dirty rows out and say so"""
    write: Path | None = None
    """write the shop as a folder of Parquet files that every verb reads, the same to its hash"""
    json: str | None = None
    """write everything here as JSON, every dirty row included ("-": standard output)"""
