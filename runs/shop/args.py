"""Describe a shop: sizes, labels, how hard its queries are for BM25, and samples by slice.

qr shop generated
qr shop icecat --data ../shared/data
qr shop my_folder --on-bad-row skip --json shop.json
qr shop my_folder --check-engine --engine-out engine.json  # then: qr online my_folder --retriever bm25:engine.json
qr shop generated --write my_shop                      # as Parquet files, to read and as a start for your own shop
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro.conf

from qr_env.shop.readers.columns.tables import accepted_names
from runs.common.reading import ReadArgs

__doc__ = f"""{__doc__}
Columns of the files and the other names that they may have there, the best first; case, accents, punctuation and what
stands in brackets do not matter. One line a file tells what was taken for what.
An impression of Search Console counts as a search; clicks are taken only where nothing else counts searches.

{accepted_names()}"""


@dataclass
class Args(ReadArgs):
    """The shop, and what to print or write of it."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")] = "generated"
    """generated, icecat, esci, wands, or the path of a folder or products file"""
    split: Literal["all", "train", "dev", "test"] = "all"
    """split of the queries in the difficulty table and the samples"""
    samples: int = 3
    """number of sample queries of each slice"""
    seed: int = 0
    """seed of the generated shop and of the samples"""
    write: Path | None = None
    """write the shop as a folder of Parquet files, which every verb reads as the same shop (equal hash)"""
    check_engine: bool = False
    """compare search engines on up to 2,000 queries of the log, without labels: which fields to index, title weight,
    k1 and b; labels, where there are any, are shown beside it"""
    engine_judge: str = "fields"
    """judge of --check-engine, names as in `qr evaluate --judge`; one with an encoder must not be used with --dense"""
    dense: bool = False
    """--check-engine: embed the products if they have no vectors yet, and compare hybrid engines too; they are compared
    without this flag where the vectors are on disk"""
    engine_out: Path | None = None
    """write the chosen settings here, for --retriever bm25:FILE.json"""
    json: str | None = None
    """write everything here as JSON, with every invalid row ("-": standard output)"""
