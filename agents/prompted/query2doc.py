"""query2doc (Wang et al. 2023, arXiv 2303.07678): a language model imagines a product that answers the query, and its
text is searched along.

    qr evaluate --agent query2doc:smollm2-135m --weight 5

The prompt shows queries and products bought for them (`prompts/query2doc_v1.md`), as the paper's few-shot prompt shows
passages. For a sparse engine the paper repeats the query five times before the passage, so that its few words are not
drowned: in "expand" that is `--weight 5`, in "replace" and "union" the query is repeated here. A dense engine takes
query and passage once.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from agents.prompted.generation import WritingAgent
from qr_env.common import tokenize

LOOP = 3
REPEATS = 5  # of the query, for BM25 (section 3 of the paper)
_NEXT = re.compile(r"\n\s*(?:query|passage)\s*:", re.IGNORECASE)
_JUNK = re.compile(r"<[^>]{0,80}>|https?:\S*|[{}\[\]|\\*_#`<>]+")


@dataclass
class Query2Doc(WritingAgent):
    """In "expand" the rewrite is the passage, words to add. repeats: of the query before the passage, where the rewrite
    is searched alone."""

    name: str = "query2doc"
    repeats: int = REPEATS

    def read(self, query: str, text: str) -> tuple[str, str]:
        """By `read_passage`."""
        passage = read_passage(text, self.asked.words)
        if not passage:
            return "", "empty"
        return passage if self.combine == "expand" else " ".join([query] * self.repeats + [passage]), ""


def read_passage(text: str, words: int) -> str:
    """One line of at most `words` words without markup; sentences that a model repeats are taken once, a word at most
    `LOOP` times; "" where nothing is left."""
    text = re.sub(r"^passage\s*:", "", text.strip(), flags=re.IGNORECASE)
    text = _JUNK.sub(" ", _NEXT.split(text, maxsplit=1)[0])
    sentences = dict.fromkeys(" ".join(part.split()) for part in re.split(r"(?<=[.!?])\s+|\n", text))
    count: Counter[str] = Counter()
    kept = []
    for word in " ".join(sentences).split()[:words]:
        count[word.lower()] += 1
        kept += [word] if count[word.lower()] <= LOOP else []
    line = " ".join(kept)
    return line if tokenize.terms(line) else ""
