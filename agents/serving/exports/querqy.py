"""Rules of Querqy (Solr, Elasticsearch, OpenSearch): common rules, and the replace rewriter's rules.

    "navy couch" =>
      SYNONYM(0.4): sofa

A quoted input matches the whole query alone. A word that the rewrite adds is a SYNONYM with its weight relative to a
typed word; a word of source "type" raises products that hold it, UP(weight). A kept query needs no rule. Querqy puts a
synonym beside the term that it matched (disjunction maximum), where this project's engine adds: the same words and
weights, and not the same lists.

Replace rules, `navy couch => navy sofa`, drop what was typed, so only rows whose rewrite replaces the query are
written: a person's override, or rewrites that are searched alone (combine "replace"). They have no weights.

Neither format can escape what it reserves, so a row with such characters is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.serving.exports.base import TextFormat, one_line
from agents.serving.rewritten import AddedWord, Rewritten

UP_BOOST = 10.0  # of a product type whose words weigh as much as typed ones
_RESERVED_INPUT = re.compile(r'["\\#{}<>\[\]=|]|^\s*$')
_RESERVED_TERM = re.compile(r'["\\#{}<>\[\]=:|()*$,;]')
_RESERVED_REPLACE = re.compile(r'["\\#{}<>\[\]=|;*()]')


@dataclass
class QuerqyCommonRules(TextFormat):
    """The common rules rewriter."""

    def row(self, row: Rewritten) -> str:
        """One rule of two lines or more."""
        if row.kept:
            return ""
        query = one_line(row.query)
        if _RESERVED_INPUT.search(query):
            self.left_out.add("the query holds characters that a rule's input reserves")
            return ""
        scale = self.mode.weight if self.mode.combine == "expand" else 1.0
        words = [word for word in row.words if word.source != "query" and word.weight > 0]
        lines = [_instruction(word, word.weight / scale) for word in words if not _RESERVED_TERM.search(word.word)]
        if len(lines) < len(words):
            self.left_out.add("a word of the rewrite holds characters that a rule reserves: the word is left out")
        if not lines:
            if not words:
                self.left_out.add("the rewrite adds no word: a rule could only repeat the query")
            return ""
        return "\n".join([f'"{query}" =>', *lines]) + "\n\n"


def _instruction(word: AddedWord, weight: float) -> str:
    if word.source == "type":
        return f"  UP({max(weight * UP_BOOST, 0.01):g}): {word.word}"
    return f"  SYNONYM({weight:.4g}): {word.word}"


@dataclass
class QuerqyReplaceRules(TextFormat):
    """The replace rewriter."""

    def row(self, row: Rewritten) -> str:
        """One line."""
        if row.kept:
            return ""
        if row.source != "override" and self.mode.combine != "replace":
            self.left_out.add("the rewrite is added to the query, and a replace rule would drop the query")
            return ""
        query, words = one_line(row.query), [word.word for word in row.words if word.weight > 0]
        if any(_RESERVED_REPLACE.search(text) for text in (query, *words)) or not query or not words:
            self.left_out.add("the query or its rewrite holds characters that replace rules reserve")
            return ""
        return f"{query} => {' '.join(words)}\n"
