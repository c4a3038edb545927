"""query2doc (Wang et al. 2023, arXiv 2303.07678): a language model writes a passage about a product that answers the
query, and the passage is searched together with the query.

    qr evaluate --agent query2doc:smollm2-135m --weight 5

The prompt (`prompts/query2doc_v1.md`) holds queries and products bought for them, as the paper's few-shot prompt holds
passages. For a sparse engine the paper repeats the query five times before the passage, to balance their lengths: in
"expand" that is `--weight 5`, in "replace" and "union" the query is repeated here. For a dense engine query and passage
are joined once.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from agents.prompted.generation import GenerativeAgent
from qr_env.language.tokenize import ENGLISH

MAX_REPEATS = 3  # of one word in a passage
REPEATS = 5  # of the query, for BM25 (section 3 of the paper)
_NEXT_EXAMPLE = re.compile(r"\n\s*(?:query|passage)\s*:", re.IGNORECASE)
_MARKUP = re.compile(r"<[^>]{0,80}>|https?:\S*|[{}\[\]|\\*_#`<>]+")


@dataclass
class Query2Doc(GenerativeAgent):
    """In "expand" the rewrite is the passage; else it is the query, repeated, and the passage."""

    name: str = "query2doc"
    """For logs and reports."""
    repeats: int = REPEATS
    """How often the query stands before the passage, where the rewrite is searched alone."""

    def read(self, query: str, text: str) -> tuple[str, str]:
        """See `read_passage`."""
        passage = read_passage(text, self.model.max_words)
        if not passage:
            return "", "empty"
        return passage if self.combine == "expand" else " ".join([query] * self.repeats + [passage]), ""


def read_passage(text: str, max_words: int) -> str:
    """One line of at most `max_words` words without markup, each sentence once and each word at most `MAX_REPEATS`
    times; "" where no word remains."""
    text = re.sub(r"^passage\s*:", "", text.strip(), flags=re.IGNORECASE)
    text = _MARKUP.sub(" ", _NEXT_EXAMPLE.split(text, maxsplit=1)[0])
    sentences = dict.fromkeys(" ".join(part.split()) for part in re.split(r"(?<=[.!?])\s+|\n", text))
    count: Counter[str] = Counter()
    kept = []
    for word in " ".join(sentences).split()[:max_words]:
        count[word.lower()] += 1
        kept += [word] if count[word.lower()] <= MAX_REPEATS else []
    line = " ".join(kept)
    return line if ENGLISH.terms(line) else ""
