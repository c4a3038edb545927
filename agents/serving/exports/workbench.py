"""Query sets of OpenSearch's Search Relevance Workbench: NDJSON `{"queryText": …, "rewrite": …}`.

Two search configurations, one with `{{queryText}}` and one with `{{rewrite}}`, make an A/B test there. The rewrite is a
Lucene query string, for a `query_string` query; that of a kept query is the query's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from agents.serving.exports.base import TextFormat, one_line
from agents.serving.rewritten import Rewritten
from qr_env.query_text.lucene import lucene_query


@dataclass
class WorkbenchQuerySet(TextFormat):
    """One object a line."""

    def row(self, row: Rewritten) -> str:
        """One object."""
        if self.mode.combine == "union":
            self.left_out.add("union searches two lists, which no query string says")
            return ""
        rewrite = lucene_query(row.query, row.rewrite, self.mode.weight, self.mode.combine)
        if not rewrite:
            self.left_out.add("a blank query")
            return ""
        return json.dumps({"queryText": one_line(row.query), "rewrite": rewrite}, ensure_ascii=False) + "\n"
