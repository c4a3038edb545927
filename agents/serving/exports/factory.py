"""Export formats by name, and writing whole files.

    write_export("querqy", rows, Path("rules.txt"), SearchMode("expand", 1.0))

text               `query → rewrite` for people
jsonl, csv, tsv    query, rewrite, kept, words with weight and source, who decided, frequency, model
parquet            the same columns
lucene             query, tab, Lucene query string with boosts
querqy             common rules of Querqy
querqy-replace     replace rules of Querqy
synonyms           Solr's synonyms; more than 10,000 rules go to further files, NAME-2, NAME-3 …, as Elasticsearch wants
workbench          query sets of OpenSearch's Search Relevance Workbench
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from agents.serving.exports.base import Format, LeftOut, SearchMode
from agents.serving.exports.plain import JsonLines, LuceneStrings, PlainText, Separated, as_json
from agents.serving.exports.querqy import QuerqyCommonRules, QuerqyReplaceRules
from agents.serving.exports.synonyms import SolrSynonyms
from agents.serving.exports.workbench import WorkbenchQuerySet
from agents.serving.rewritten import Rewritten
from qr_env.common.atomic_io import atomic_write
from qr_env.common.errors import ConfigError

TEXT_FORMATS: dict[str, Callable[..., Format]] = {
    "text": PlainText,
    "jsonl": JsonLines,
    "csv": Separated,
    "tsv": partial(Separated, delimiter="\t"),
    "lucene": LuceneStrings,
    "querqy": QuerqyCommonRules,
    "querqy-replace": QuerqyReplaceRules,
    "synonyms": SolrSynonyms,
    "workbench": WorkbenchQuerySet,
}
PARQUET = "parquet"
FORMATS = (*TEXT_FORMATS, PARQUET)
SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": PARQUET, ".txt": "text"}
MOST_SYNONYMS = 10_000  # rules of one synonyms set of Elasticsearch
WORDS = pa.list_(pa.struct([("word", pa.string()), ("weight", pa.float64()), ("source", pa.string())]))
SCHEMA = pa.schema(
    [
        ("query", pa.string()), ("rewrite", pa.string()), ("kept", pa.bool_()), ("words", WORDS),
        ("source", pa.string()), ("frequency", pa.float64()), ("model", pa.string()),
    ]
)  # fmt: skip


@dataclass
class Exported:
    """What was written."""

    files: list[Path]
    """the files"""
    rows: int = 0
    """rows that were written"""
    left_out: LeftOut = field(default_factory=LeftOut)
    """rows, or words of them, that the format cannot say"""


def text_format(name: str, mode: SearchMode | None = None) -> Format:
    """A format that is written line by line. Raises ConfigError for another name."""
    if name not in TEXT_FORMATS:
        raise ConfigError(f"format={name!r}: choose one of {', '.join(TEXT_FORMATS)}; parquet needs a file")
    return TEXT_FORMATS[name](mode=mode or SearchMode())


def write_export(name: str, rows: Iterable[Rewritten], path: Path, mode: SearchMode | None = None) -> Exported:
    """Write all rows to a file, atomically.

    Raises:
        ConfigError: no such format, or the file cannot be written.
    """
    if name == PARQUET:
        values = [as_json(row) for row in rows]
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(values, schema=SCHEMA), buffer)
        atomic_write(path, buffer.getvalue())
        return Exported([path], len(values))
    written = text_format(name, mode)
    texts = [text for row in rows if (text := written.row(row))]
    most = MOST_SYNONYMS if name == "synonyms" else max(len(texts), 1)
    parts = [texts[start : start + most] for start in range(0, max(len(texts), 1), most)]
    files = [path, *(path.with_name(f"{path.stem}-{n}{path.suffix}") for n in range(2, len(parts) + 1))]
    for file, part in zip(files, parts, strict=True):
        atomic_write(file, written.head() + "".join(part))
    return Exported(files, len(texts), written.left_out)
