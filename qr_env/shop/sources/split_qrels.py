"""Labels in a folder with a file a split, as BEIR and MTEB have them: qrels/train.tsv, qrels/dev.tsv, qrels/test.tsv.

    matrix, queries = read_split_qrels(Path("scifact/qrels"), known, report)

A query is of the split of the file that has its labels, the held-out one where several have; one without labels is of
the train split.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from qr_env.common.errors import DataError
from qr_env.shop.readers.columns.tables import QRELS
from qr_env.shop.readers.formats.by_suffix import QRELS_SUFFIXES
from qr_env.shop.readers.formats.opening.table_file import table_name
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.rows import checked_table
from qr_env.shop.readers.values import SPLIT_NAMES
from qr_env.shop.shop import SPLITS
from qr_env.shop.sources.pairs import KnownIds, qrels_of, with_levels
from qr_env.shop.sources.queries import ShopQueries


def read_split_qrels(folder: Path, known: KnownIds, report: LoadReport) -> tuple[sp.csr_matrix, ShopQueries]:
    """Qrels as `read_qrels` gives them, the better grade where two files have a pair; the queries with their splits.

    Raises:
        DataError: no file of the folder is named like a split, or as `read_qrels`.
    """
    files = _files(folder)
    table = known.queries.table
    matrix = sp.csr_matrix((len(table), len(known.product_ids)), dtype=np.int8)
    splits_N = np.full(len(table), "train", dtype=object)
    ordered = [(split, path) for split in SPLITS for path in files.get(split, ())]
    tables = with_levels(folder, [checked_table(path, QRELS, report) for _, path in ordered], report)
    for (split, path), labels_table in zip(ordered, tables, strict=True):
        labels = qrels_of(path, labels_table, known, report)
        matrix = matrix.maximum(labels)
        splits_N[np.diff(labels.indptr) > 0] = split
    counts = ", ".join(f"{split} {np.count_nonzero(splits_N == split):,}" for split in SPLITS)
    report.note(
        f"{folder.name}/: the splits of the queries are those of {', '.join(sorted(_names(files)))}: {counts}, the "
        f"{np.count_nonzero(np.diff(matrix.indptr) == 0):,} without labels being train"
    )
    at = table.column_names.index("split")
    table = table.set_column(at, "split", pa.array(splits_N.tolist(), pa.string()))
    return matrix, replace(known.queries, table=table)


def _files(folder: Path) -> dict[str, list[Path]]:
    """Split → its files."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        stem, suffix = table_name(path)
        if path.is_file() and suffix in QRELS_SUFFIXES and stem.lower() in SPLIT_NAMES:
            files.setdefault(SPLIT_NAMES[stem.lower()], []).append(path)
    if not files:
        names = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
        raise DataError(f"{folder}: no labels; a folder of qrels has train.tsv, dev.tsv or test.tsv, this has {names}")
    return files


def _names(files: dict[str, list[Path]]) -> list[str]:
    return [path.name for paths in files.values() for path in paths]
