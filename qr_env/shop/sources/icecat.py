"""Chorus / Icecat: electronics and office products, real head queries, grades 0–3 by three raters. For reporting only.

    qr shop icecat --data ../shared/data     # a folder in our format: 19,406 products, 89 queries, 2,632 grades
    qr shop icecat                           # downloads from upstream and converts

The grades are in querqy/chorus (Apache-2.0); product content is by Icecat under its Open Content License, "as is".
All queries are in the test split: 89 are too few to train on. Upstream's `rating` is used unchanged; the folder above
holds the majority of the three raters over the same catalogue, so its queries and some grades differ. Upstream's
checksums are not pinned: those of the first download are recorded, and later ones must agree.
"""

from __future__ import annotations

import csv
import json
import re
import tarfile
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from qr_env.common.download import Remote
from qr_env.common.errors import DataError
from qr_env.common.types import JsonDict
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import read_files, read_folder
from qr_env.shop.sources.public import has_our_format, locate

RATINGS = Remote(
    "https://raw.githubusercontent.com/querqy/chorus/96edf8b5/katas/Broad_Query_Set_rated.csv",
    "Broad_Query_Set_rated.csv",
)
PRODUCTS = Remote(
    "https://querqy.org/datasets/icecat/icecat-products-w_price-19k-20201127.tar.gz",
    "icecat-products-w_price-19k-20201127.tar.gz",
)


def load(data: str | None, options: ReadOptions) -> Shop:
    """Read Icecat from a folder in our format or upstream's, or download it. Raises as `qr_env.shop.load.load_shop`."""
    raw = locate("icecat", (RATINGS, PRODUCTS), data)
    if has_our_format(raw):
        return read_folder(raw, options)
    report = LoadReport(options)
    with tempfile.TemporaryDirectory() as temporary:
        for note in convert(raw, Path(temporary)):
            report.note(note)
        products, queries, qrels = (Path(temporary) / f"{stem}.parquet" for stem in ("products", "queries", "qrels"))
        return read_files("icecat", report, products=products, queries=queries, qrels=qrels, known_language="en")


def convert(raw: Path, out: Path) -> list[str]:
    """Write upstream's catalogue and ratings in our format; returns notes on what was left out."""
    products = [_product(item) for item in _catalogue(raw / PRODUCTS.name)]
    with (raw / RATINGS.name).open(encoding="utf-8-sig", newline="") as handle:
        ratings = list(csv.DictReader(handle))
    if not ratings or not {"query", "docid", "rating"} <= set(ratings[0]):
        raise DataError(f"{raw / RATINGS.name}: the columns query, docid and rating are missing")
    ids = {product["product_id"] for product in products}
    kept = [row for row in ratings if row["docid"] in ids]
    texts = sorted({row["query"] for row in kept})
    number = {text: f"q{at:03d}" for at, text in enumerate(texts)}
    labels = [{"query_id": number[row["query"]], "product_id": row["docid"], "grade": row["rating"]} for row in kept]
    queries = [{"query_id": number[text], "query": text, "split": "test"} for text in texts]
    for stem, rows in (("products", products), ("queries", queries), ("qrels", labels)):
        pq.write_table(pa.Table.from_pylist(rows), out / f"{stem}.parquet")
    return [f"icecat: {len(ratings) - len(kept):,} ratings of products outside the catalogue are left out"]


def _catalogue(path: Path) -> list[JsonDict]:
    """The JSON array inside the archive."""
    try:
        with tarfile.open(path) as archive:
            member = next(item for item in archive if item.isfile() and item.name.endswith(".json"))
            handle = archive.extractfile(member)
            assert handle is not None
            return list(json.load(handle))
    except (tarfile.TarError, StopIteration, ValueError, OSError) as error:
        raise DataError(f"{path}: no archive with a JSON array of products ({error!r}); download it again") from None


def _product(item: JsonDict) -> JsonDict:
    price = item.get("price")
    return {
        "product_id": str(item.get("id", "")),
        "title": _text(item.get("title")),
        "description": _text(item.get("short_description")),
        "brand": _text(item.get("supplier")),
        "color": _text(item.get("attr_t_product_colour")),
        "price": None if price is None else str(price),
        "attributes": " | ".join(_attributes(item)),
    }


def _attributes(item: JsonDict) -> list[str]:
    """Upstream's attr_t_product_colour: "Black" as "product colour: Black"."""
    found = ((re.fullmatch(r"attr_\w_(.+)", key), value) for key, value in item.items())
    return [f"{match[1].replace('_', ' ')}: {_text(value)}" for match, value in found if match and value is not None]


def _text(value: object) -> str:
    """A value as text; upstream has lists where an attribute has several values."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
