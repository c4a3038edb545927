"""Your own shop from files: a folder, or one products file. CSV, TSV, JSON, JSONL, Parquet; qrels also in TREC format.

    my_folder/products.csv     product_id,title and, where known, description,brand,category,color,price,attributes
    my_folder/queries.csv      query and, where known, query_id,frequency,split
    my_folder/qrels.csv        query_id,product_id,grade       (optional; or qrels.trec, qrels/test.tsv)
    my_folder/purchases.csv    query_id,product_id,source      (optional; source is search or outside)

    qr shop my_folder --on-bad-row skip

Only products and queries are required. Files may have the names of their exports (`file_names.py`) and columns the
names of many systems (`readers/columns/tables.py`); what was taken for what is noted in one line a file. Queries
without ids get "q1", "q2", … by row; without a split, 80/10/10 by a hash of the text; without a frequency, 1. Equal
texts are one query (`queries.py`). Grades of another scale than E, S, C, I and 0–3 must be named
(`readers/grades.py`). Text is cleaned on reading (`readers/text/clean_text.py`): HTML, white space at both ends,
words for nothing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from qr_env.common.errors import ConfigError, DataError
from qr_env.common.types import LEVELS, JsonDict
from qr_env.language.codes import language
from qr_env.shop.readers.columns.tables import PRODUCTS
from qr_env.shop.readers.formats.opening.table_file import table_name
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.readers.rows import checked_table
from qr_env.shop.shop import PURCHASE_SCHEMA, Shop
from qr_env.shop.sources.file_names import find_required, find_table, unread_note
from qr_env.shop.sources.pairs import KnownIds, read_purchases, read_qrels
from qr_env.shop.sources.queries import NO_QUERIES, read_queries
from qr_env.shop.sources.split_qrels import read_split_qrels
from qr_env.shop.told_language import tell_language

LETTERS = [level[0] for level in LEVELS]  # letters need no scale: a shop without an Exact pair is read back alike


def read_folder(path: str | Path, options: ReadOptions | None = None) -> Shop:
    """Read a shop from a folder, or from a single products file (then it has no queries).

    Args:
        path: folder with products.* and queries.*, or a products file.
        options: how the files are read; `shop.report` lists the rows that they leave out.

    Raises:
        BadRowError: an invalid row that options do not skip.
        DataError: there is no products file, or a file cannot be read.
    """
    path, report = Path(path), LoadReport(options or ReadOptions())
    if path.is_file():
        return read_files(table_name(path)[0], report, products=path)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder or file")
    extra = path / "shop.json"  # by `write_shop`
    known = _read_extra(extra) if extra.is_file() else {}
    products, queries = find_required(path, "products"), find_required(path, "queries")
    qrels, purchases = find_table(path, "qrels"), find_table(path, "purchases")
    report.note(unread_note(path, (products, queries, qrels, purchases)))
    shop = read_files(
        path.resolve().name,
        report,
        products=products,
        queries=queries,
        qrels=qrels,
        purchases=purchases,
        join_queries=not known,  # `write_shop` wrote the shop as it was, and slices by row
        known_language=str(known.get("language", "")),
    )
    return _with_extra(shop, known, extra) if known else shop


def read_files(
    name: str,
    report: LoadReport,
    products: Path,
    queries: Path | None = None,
    qrels: Path | None = None,
    purchases: Path | None = None,
    join_queries: bool = True,
    known_language: str = "",
) -> Shop:
    """Read a shop from these files; `read_folder` finds them by name.

    Args:
        join_queries: whether equal texts are one.
        known_language: of the shop, unless the options give one; "" tells it from the texts.
    """
    product_table = checked_table(products, PRODUCTS, report)
    if not len(product_table):
        raise DataError(f"{products}: no usable product. {report.summary() or 'The file has no rows.'}")
    has_splits = qrels is not None and qrels.is_dir()
    found = read_queries(queries, report, join_queries, hash_splits=not has_splits) if queries else NO_QUERIES
    if queries and not len(found.table):
        raise DataError(f"{queries}: no usable query. {report.summary() or 'The file has no rows.'}")
    product_table = product_table.drop_columns(["line", "row"])
    files = {"query": queries.name if queries else "the shop", "product": products.name}
    known = KnownIds(found, product_table["product_id"].combine_chunks(), files)
    matrix = sp.csr_matrix((len(found.table), len(product_table)), dtype=np.int8)
    if qrels and has_splits:
        matrix, found = read_split_qrels(qrels, known, report)
    elif qrels:
        matrix = read_qrels(qrels, known, report)
    elif report.options.grades:
        report.note(f"grades={report.options.grades!r} names grades, but there is no qrels file")
    purchase_table = PURCHASE_SCHEMA.empty_table()
    if purchases:
        purchase_table = read_purchases(purchases, known, report)
    code = _language(report, known_language, product_table["title"], found.table["query"])
    return Shop(
        name,
        product_table,
        found.table,
        matrix,
        purchase_table,
        report=report,
        language=code,
        joined_ids=found.joined_ids,
    )


def _language(report: LoadReport, known: str, titles: pa.ChunkedArray, queries: pa.ChunkedArray) -> str:
    """The given language, else the known one, else the one that the texts tell."""
    if given := report.options.language or known:
        found = language(given)
        report.language = f"{found.name} ({found.code}), {'given' if report.options.language else 'known of this shop'}"
        return found.code
    told = tell_language(titles, queries)
    report.language = str(told)
    if told.code != "en":
        report.note(
            f"language: {told}; `language` sets another. The built-in models (encoders, language models) know "
            "English best"
        )
    return told.code


def write_shop(shop: Shop, folder: str | Path) -> None:
    """Write a shop as Parquet files that `read_folder` reads back with the same hash; creates the folder.

    `shop.json` holds the other fields: name, qrels_complete, oracle and slices.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(shop.products, folder / "products.parquet")
    pq.write_table(shop.queries, folder / "queries.parquet")
    pq.write_table(shop.purchases, folder / "purchases.parquet")
    pairs = shop.qrels.tocoo()
    labels = {
        "query_id": shop.queries["query_id"].take(pa.array(pairs.row)),
        "product_id": shop.products["product_id"].take(pa.array(pairs.col)),
        "grade": pa.array(LETTERS).take(pa.array(pairs.data - 1)),
    }
    pq.write_table(pa.table(labels), folder / "qrels.parquet")
    extra = {
        "name": shop.name,
        "language": shop.language,
        "qrels_complete": shop.qrels_complete,
        "oracle": shop.oracle,
        "slices": {name: np.flatnonzero(mask).tolist() for name, mask in shop.slices.items()},
    }
    (folder / "shop.json").write_text(json.dumps(extra, ensure_ascii=False), encoding="utf-8")


def _read_extra(path: Path) -> JsonDict:
    try:
        extra: JsonDict = json.loads(path.read_text(encoding="utf-8"))
        language(extra["language"])
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise _foreign(path, error) from None
    return extra


def _foreign(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: not a file of `write_shop` ({error!r}); delete it or write the shop again")


def _with_extra(shop: Shop, extra: JsonDict, path: Path) -> Shop:
    """The shop with the name, qrels_complete, oracle and slices of a `shop.json` by `write_shop`."""
    try:
        slices = {name: np.zeros(len(shop.queries), bool) for name in extra["slices"]}
        for name, mask in slices.items():
            mask[extra["slices"][name]] = True
        name, complete, oracle = extra["name"], bool(extra["qrels_complete"]), dict(extra["oracle"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _foreign(path, error) from None
    return replace(shop, name=name, qrels_complete=complete, oracle=oracle, slices=slices)
