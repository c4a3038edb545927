"""ESCI, Amazon's Shopping Queries Dataset (Apache-2.0): US part of the large version, 97,345 queries, 1.2 M products.

    qr shop esci                     # downloads 1.2 GB from upstream and converts it once
    qr shop esci --data ~/esci-data/shopping_queries_dataset

Reddy et al. 2022, arXiv 2206.06588. Labels are E/S/C/I; there is no price, category or frequency. Upstream's test
split is kept; a tenth of its train split, by a hash of the text, becomes dev. Checksums are those of upstream's
Git LFS pointers. Products without a title, and their labels, are left out and counted in the report's notes.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from tqdm import tqdm

from qr_env.common.atomic_io import atomic_cache_folder
from qr_env.common.download import Remote, cache_root
from qr_env.common.errors import DataError
from qr_env.common.hashing import sha256_text
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop, split_of
from qr_env.shop.sources.files import read_files, read_folder
from qr_env.shop.sources.public import has_our_format, locate

_UPSTREAM = "https://media.githubusercontent.com/media/amazon-science/esci-data"
COMMIT = "7e0e3073f5ca36c0b5ff79e847cf99a74597645d"
EXAMPLES = Remote(
    f"{_UPSTREAM}/{COMMIT}/shopping_queries_dataset/shopping_queries_dataset_examples.parquet",
    "shopping_queries_dataset_examples.parquet",
    sha256="4a735b693b4a424a6fc67f5be6e4c811495c488bbf66d02a602d308b2744263a",
    size=51_286_808,
)
PRODUCTS = Remote(
    f"{_UPSTREAM}/{COMMIT}/shopping_queries_dataset/shopping_queries_dataset_products.parquet",
    "shopping_queries_dataset_products.parquet",
    sha256="25124442d064d64b26f74082d6fa09438d679efc0c183cf28d19064a2b65a265",
    size=1_108_857_465,
)
COLUMNS = {
    "product_id": "product_id",
    "product_title": "title",
    "product_description": "description",
    "product_brand": "brand",
    "product_color": "color",
    "product_bullet_point": "attributes",
}
CONVERSION = 1  # raise when `convert` changes: part of the cache key


def load(data: str | None, options: ReadOptions) -> Shop:
    """Read ESCI, converted on first use. Raises as `qr_env.shop.load.load_shop`."""
    raw = locate("esci", (EXAMPLES, PRODUCTS), data)
    if has_our_format(raw):
        return read_folder(raw, options)
    converted = cache_root() / "shops" / f"esci-us-{CONVERSION}-{_key(raw)}"
    if not converted.is_dir():
        with atomic_cache_folder(converted) as temporary:
            convert(raw, temporary)
    report = LoadReport(options)
    for note in json.loads((converted / "notes.json").read_text(encoding="utf-8")):
        report.note(note)
    products, queries, qrels = (converted / f"{stem}.parquet" for stem in ("products", "queries", "qrels"))
    return read_files("esci", report, products=products, queries=queries, qrels=qrels, known_language="en")


def _key(raw: Path) -> str:
    """Cache key of the upstream files: sizes and times suffice, since the download verified their bytes."""
    stats = [(raw / remote.name).stat() for remote in (EXAMPLES, PRODUCTS)]
    return sha256_text(repr([(stat.st_size, stat.st_mtime_ns) for stat in stats]), 12)


def convert(raw: Path, out: Path) -> None:
    """Write upstream's US rows as products, queries and qrels in our format, and notes.json; products are streamed."""
    try:
        ids, untitled = _convert_products(raw / PRODUCTS.name, out / "products.parquet")
        examples = _examples(raw / EXAMPLES.name)
    except (pa.ArrowException, KeyError) as error:
        raise DataError(
            f"{raw}: not in the format of upstream's files ({str(error).splitlines()[0]}); download them again"
        ) from None
    pq.write_table(_queries(examples), out / "queries.parquet")
    known = pc.is_in(examples["product_id"], ids)
    pq.write_table(examples.filter(known).select(["query_id", "product_id", "esci_label"]), out / "qrels.parquet")
    notes = [f"esci: {untitled:,} products without a title are left out"]
    notes.append(f"esci: {len(examples) - pc.sum(known).as_py():,} labels of unknown products are left out")
    (out / "notes.json").write_text(json.dumps(notes), encoding="utf-8")


def _convert_products(source: Path, target: Path) -> tuple[pa.Array, int]:
    """Write the products; returns their ids, and the number of products without a title."""
    scanner = ds.dataset(source).scanner(columns=list(COLUMNS), filter=ds.field("product_locale") == "us")
    schema = pa.schema([(name, pa.string()) for name in COLUMNS.values()])
    ids, untitled = [], 0
    with pq.ParquetWriter(target, schema) as writer:
        for batch in tqdm(scanner.to_batches(), desc="converting ESCI", unit=" batches"):
            table = pa.table([batch[name].cast(pa.string()) for name in COLUMNS], schema=schema)
            titled = pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(table["title"].fill_null(""))), 0)
            untitled += len(table) - (pc.sum(titled).as_py() or 0)
            table = table.filter(titled)
            writer.write_table(table)
            ids.append(table["product_id"])
    return pa.chunked_array([chunk for each in ids for chunk in each.chunks], pa.string()).combine_chunks(), untitled


def _examples(source: Path) -> pa.Table:
    columns = ["query_id", "query", "product_id", "esci_label", "split"]
    wanted = (ds.field("product_locale") == "us") & (ds.field("large_version") == 1)
    table = ds.dataset(source).to_table(columns=columns, filter=wanted)
    return pa.table([table[name].cast(pa.string()) for name in columns], names=columns)


def _queries(examples: pa.Table) -> pa.Table:
    """One row per query, in upstream's order; a tenth of train becomes dev."""
    seen = examples.group_by("query_id", use_threads=False).aggregate([("query", "first"), ("split", "first")])
    texts, splits = seen["query_first"].to_pylist(), seen["split_first"].to_pylist()
    new_splits = [
        "dev" if split == "train" and split_of(text) == "dev" else split
        for text, split in zip(texts, splits, strict=True)
    ]
    return pa.table({"query_id": seen["query_id"], "query": texts, "split": new_splits})
