"""Plain formats: text for people, JSONL, CSV, TSV, and Lucene query strings, a line a query."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents.serving.exports.base import TextFormat, one_line
from agents.serving.rewritten import Rewritten
from qr_env.common.types import JsonDict
from qr_env.query_text.lucene import lucene_query

COLUMNS = ("query", "rewrite", "kept", "words", "source", "frequency", "model")


def as_json(row: Rewritten) -> JsonDict:
    """A row as JSON values."""
    return {
        "query": row.query,
        "rewrite": "" if row.kept else row.rewrite,
        "kept": row.kept,
        "words": [{"word": one.word, "weight": one.weight, "source": one.source} for one in row.words],
        "source": row.source,
        "frequency": row.frequency,
        "model": row.model,
    }


@dataclass
class PlainText(TextFormat):
    """`query → rewrite`, or `query   (kept)`."""

    def row(self, row: Rewritten) -> str:
        """One line for people."""
        query = one_line(row.query)
        return f"{query}   (kept)\n" if row.kept else f"{query} → {one_line(row.rewrite)}\n"


@dataclass
class JsonLines(TextFormat):
    """One JSON object a line, `as_json`."""

    def row(self, row: Rewritten) -> str:
        """One object."""
        return json.dumps(as_json(row), ensure_ascii=False) + "\n"


@dataclass
class Separated(TextFormat):
    """CSV or TSV with a header; `words` is `word^weight(source)`, separated by spaces."""

    delimiter: str = ","
    """between cells"""

    def head(self) -> str:
        """Names of the columns."""
        return self._written(COLUMNS)

    def row(self, row: Rewritten) -> str:
        """One record, quoted as RFC 4180 says."""
        values = as_json(row) | {"kept": int(row.kept)}
        values["words"] = " ".join(f"{one.word}^{one.weight:g}({one.source})" for one in row.words)
        return self._written([values[name] for name in COLUMNS])

    def _written(self, cells: Sequence[object]) -> str:
        target = io.StringIO()
        # The csv module quotes only the line break that it writes itself, and readers end a record at any.
        odd = any("\r" in str(cell) for cell in cells)
        quoting: Literal[0, 1] = csv.QUOTE_ALL if odd else csv.QUOTE_MINIMAL
        csv.writer(target, delimiter=self.delimiter, lineterminator="\n", quoting=quoting).writerow(cells)
        return target.getvalue()


@dataclass
class LuceneStrings(TextFormat):
    """Query, tab, query string with boosts for Solr, Elasticsearch and OpenSearch (`qr_env.query_text.lucene`)."""

    def row(self, row: Rewritten) -> str:
        """One line; "union" is no single query string and is left out."""
        if self.mode.combine == "union":
            self.left_out.add("union searches two lists, which no query string says")
            return ""
        text = lucene_query(row.query, row.rewrite, self.mode.weight, self.mode.combine)
        if not text:
            self.left_out.add("a blank query string, which some parsers refuse")
            return ""
        return f"{one_line(row.query)}\t{text}\n"
