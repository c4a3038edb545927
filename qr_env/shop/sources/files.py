"""Your own shop from files: a folder, or a single products file. CSV, TSV, JSONL, Parquet; qrels also in TREC format.

    my_folder/products.csv     product_id,title and, where known, description,brand,category,color,price,attributes
    my_folder/queries.csv      query and, where known, query_id,frequency,split
    my_folder/qrels.csv        query_id,product_id,grade             (optional; or qrels.trec)
    my_folder/purchases.csv    query_id,product_id,source            (optional; source is search or outside)

    qr shop my_folder --on-bad-row skip

Only products and queries are required. Other common column names are accepted (`readers/tables.py`) and reported.
Queries without ids get "q1", "q2", … by row; without a split, 80/10/10 by a hash of the text; without a frequency, 1.
Leading and trailing white space of values is removed; nothing else is changed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse as sp

from qr_env.common.errors import DataError
from qr_env.common.types import JsonDict
from qr_env.shop.readers.columns import Spec
from qr_env.shop.readers.formats.by_suffix import QRELS_SUFFIXES, TABLE_SUFFIXES, files_of
from qr_env.shop.readers.formats.table_file import table_name
from qr_env.shop.readers.load_report import LoadReport, shorten
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.readers.rows import checked_table
from qr_env.shop.readers.tables import PRODUCTS, PURCHASES, QRELS, QUERIES
from qr_env.shop.shop import PURCHASE_SCHEMA, QUERY_SCHEMA, Shop, conform, split_of


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
    shop = read_files(
        path.resolve().name,
        report,
        products=_find_required(path, "products"),
        queries=_find_required(path, "queries"),
        qrels=_find(path, "qrels", QRELS_SUFFIXES),
        purchases=_find(path, "purchases"),
    )
    extra = path / "shop.json"
    return _with_extra(shop, extra) if extra.is_file() else shop


def read_files(
    name: str,
    report: LoadReport,
    products: Path,
    queries: Path | None = None,
    qrels: Path | None = None,
    purchases: Path | None = None,
) -> Shop:
    """Read a shop from these files; `read_folder` finds them by name."""
    product_table = checked_table(products, PRODUCTS, report)
    if not len(product_table):
        raise DataError(f"{products}: no usable product. {report.summary() or 'The file has no rows.'}")
    query_table = _queries(queries, report) if queries else QUERY_SCHEMA.empty_table()
    if queries and not len(query_table):
        raise DataError(f"{queries}: no usable query. {report.summary() or 'The file has no rows.'}")
    product_table = product_table.drop_columns(["line", "row"])
    matrix = sp.csr_matrix((len(query_table), len(product_table)), dtype=np.int8)
    if qrels:
        matrix = _qrels(qrels, query_table, product_table, report)
    purchase_table = PURCHASE_SCHEMA.empty_table()
    if purchases:
        purchase_table = _purchases(purchases, query_table, product_table, report)
    return Shop(name, product_table, query_table, matrix, purchase_table, report=report)


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
        "grade": pa.array(pairs.data - 1, pa.int8()),
    }
    pq.write_table(pa.table(labels), folder / "qrels.parquet")
    extra = {
        "name": shop.name,
        "qrels_complete": shop.qrels_complete,
        "oracle": shop.oracle,
        "slices": {name: np.flatnonzero(mask).tolist() for name, mask in shop.slices.items()},
    }
    (folder / "shop.json").write_text(json.dumps(extra, ensure_ascii=False), encoding="utf-8")


def _with_extra(shop: Shop, path: Path) -> Shop:
    """The shop with the name, qrels_complete, oracle and slices of a `shop.json` by `write_shop`."""
    try:
        extra: JsonDict = json.loads(path.read_text(encoding="utf-8"))
        slices = {name: np.zeros(len(shop.queries), bool) for name in extra["slices"]}
        for name, mask in slices.items():
            mask[extra["slices"][name]] = True
        name, complete, oracle = extra["name"], bool(extra["qrels_complete"]), dict(extra["oracle"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path}: not a file of `write_shop` ({error!r}); delete it or write the shop again") from None
    return Shop(name, shop.products, shop.queries, shop.qrels, shop.purchases, complete, oracle, slices, shop.report)


def _find(folder: Path, stem: str, suffixes: tuple[str, ...] = TABLE_SUFFIXES) -> Path | None:
    """The one file STEM.SUFFIX of the folder, packed or not; None if there is none."""
    found = files_of(folder, stem, suffixes)
    if len(found) > 1:
        raise DataError(f"{folder}: {' and '.join(path.name for path in found)} both hold the {stem}; keep one of them")
    return found[0] if found else None


def _find_required(folder: Path, stem: str) -> Path:
    found = _find(folder, stem)
    if found is None:
        accepted = ", ".join(stem + suffix for suffix in TABLE_SUFFIXES)
        names = ", ".join(sorted(path.name for path in folder.iterdir())[:10])
        raise DataError(
            f"{folder}: no {stem} file ({accepted}, also with .gz, or {stem}.zip); "
            f"the folder {f'holds {names}' if names else 'is empty'}"
        )
    return found


def _queries(path: Path, report: LoadReport) -> pa.Table:
    table = checked_table(path, QUERIES, report)
    if "query_id" not in table.column_names:
        report.note(f'{path.name}: no query ids; they are generated from the row: "q1", "q2", …')
        ids = pc.binary_join_element_wise("q", pc.add(table["row"], 1).cast(pa.string()), "")
        table = table.append_column("query_id", ids)
    table = conform(table.drop_columns(["line", "row"]), QUERY_SCHEMA, path.name)
    hashed = pc.equal(table["split"], "")
    if not pc.any(hashed).as_py():
        return table
    report.note(
        f"{path.name}: {pc.sum(hashed).as_py():,} queries without a split; split 80/10/10 by a hash of the text"
    )
    pairs = zip(table["split"].to_pylist(), table["query"].to_pylist(), strict=True)
    splits = pa.array([split or split_of(text) for split, text in pairs], pa.string())
    return table.set_column(table.column_names.index("split"), "split", splits)


def _qrels(path: Path, queries: pa.Table, products: pa.Table, report: LoadReport) -> sp.csr_matrix:
    """(queries, products) int8, level + 1; a pair that occurs twice keeps its first grade."""
    table, query_N, product_N = _pairs(path, QRELS, queries, products, report)
    keys = query_N * len(products) + product_N
    _, firsts = np.unique(keys, return_index=True)
    if len(firsts) < len(keys):
        again = np.setdiff1d(np.arange(len(keys)), firsts)
        rows = table.take(pa.array(again)).to_pylist()
        report.add(str(path), [(row["line"], "pair graded twice", shorten(_pair_text(row))) for row in rows])
        report.kept[str(path)] = len(firsts)
    levels = np.asarray(table["grade"].combine_chunks())[firsts] + 1
    shape = (len(queries), len(products))
    return sp.csr_matrix((levels.astype(np.int8), (query_N[firsts], product_N[firsts])), shape=shape)


def _pair_text(row: JsonDict) -> str:
    return f"{row.get('query_id') or row.get('query')} {row['product_id']}"


def _purchases(path: Path, queries: pa.Table, products: pa.Table, report: LoadReport) -> pa.Table:
    table, query_N, _ = _pairs(path, PURCHASES, queries, products, report)
    columns = {"query_id": queries["query_id"].take(pa.array(query_N)), "product_id": table["product_id"]}
    if "source" in table.column_names:
        columns["source"] = table["source"]
    return conform(pa.table(columns), PURCHASE_SCHEMA, path.name)


def _pairs(
    path: Path, spec: Spec, queries: pa.Table, products: pa.Table, report: LoadReport
) -> tuple[pa.Table, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows with a known query and product: the table, query rows (N,), product rows (N,)."""
    rows_of: dict[str, list[npt.NDArray[np.int64]]] = {"query": [], "product": []}

    def unknown(table: pa.Table) -> list[tuple[pa.Array, str, str]]:
        by = _query_column(path, table)
        query_N = pc.index_in(table[by], queries[by].combine_chunks())
        product_N = pc.index_in(table["product_id"], product_ids)
        good = np.asarray(pc.and_(pc.is_valid(query_N), pc.is_valid(product_N)))
        rows_of["query"].append(np.asarray(query_N.fill_null(0)).astype(np.int64)[good])
        rows_of["product"].append(np.asarray(product_N.fill_null(0)).astype(np.int64)[good])
        return [(pc.is_null(query_N), "unknown query", by), (pc.is_null(product_N), "unknown product", "product_id")]

    product_ids = products["product_id"].combine_chunks()
    table = checked_table(path, spec, report, unknown)
    return table, np.concatenate(rows_of["query"]), np.concatenate(rows_of["product"])


def _query_column(path: Path, table: pa.Table) -> str:
    """The column that identifies the query: its id, else its text."""
    column = next((name for name in ("query_id", "query") if name in table.column_names), None)
    if column is None:
        raise DataError(f"{path}: no column names the query; accepted are query_id, or query for its text")
    return column
