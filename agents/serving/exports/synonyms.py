"""Synonyms in Solr's format for Solr, Elasticsearch and OpenSearch: `navy couch => navy couch, sofa`.

The left side is what was typed, and the right side what is searched: the query and, in "expand" and "union", each word
that the rewrite adds. The format has no weights, and a rule fires wherever its left side occurs in a query, not for the
whole query alone. Backslash escapes a comma, `=>`, `#` and itself. Elasticsearch takes 10,000 rules a set
(`agents.serving.exports.factory` splits the file).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.serving.exports.base import TextFormat, one_line
from agents.serving.rewritten import Rewritten

_RESERVED = re.compile(r"[\\,#]|=(?=>)")


def escaped(text: str) -> str:
    """The text as one entry of a rule."""
    return _RESERVED.sub(r"\\\g<0>", one_line(text))


@dataclass
class SolrSynonyms(TextFormat):
    """One rule a line."""

    def row(self, row: Rewritten) -> str:
        """One line."""
        if row.kept:
            return ""
        added = [word.word for word in row.words if word.source != "query" and word.weight > 0]
        replaced = self.mode.combine == "replace"
        right = [" ".join(word.word for word in row.words)] if replaced else [row.query, *added]
        entries = [escaped(text) for text in dict.fromkeys(right) if escaped(text)]
        if not escaped(row.query) or not entries or (not added and not replaced):
            self.left_out.add("the rewrite adds no word, and synonyms have no weights")
            return ""
        return f"{escaped(row.query)} => {', '.join(entries)}\n"
