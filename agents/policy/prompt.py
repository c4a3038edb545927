"""The one prompt template, for every student: what it reads, what it writes, and how the two become token ids.

The completion is the rewrite. In `expand` mode that is the words to add; nothing at all means "keep the original".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATE = "Query: {query}\nRewrite:"
AGAIN = "Query: {query}\nTried: {rewrite}\nFound: {found}\nRewrite:"
# A shopper's query is short; a pasted page is cut so that one query cannot stretch a whole batch.
MAX_QUERY_CHARACTERS = 200
MAX_FOUND_CHARACTERS = 160


def prompt_text(query: str) -> str:
    """The text that the student continues."""
    return TEMPLATE.format(query=_cut(query, MAX_QUERY_CHARACTERS))


def again_text(query: str, rewrite: str, found: str) -> str:
    """The same on a later turn: beside the query, what was written last and the titles that it found."""
    return AGAIN.format(
        query=_cut(query, MAX_QUERY_CHARACTERS),
        rewrite=_cut(rewrite, MAX_QUERY_CHARACTERS),
        found=_cut(found, MAX_FOUND_CHARACTERS),
    )


def _cut(text: str, characters: int) -> str:
    """One line, no longer than that."""
    return " ".join(text.split())[:characters]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, queries: Sequence[str]) -> list[list[int]]:
    """Token ids of each query's prompt, without special tokens."""
    return text_ids(tokenizer, [prompt_text(query) for query in queries])


def text_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt, without special tokens."""
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []


def completion_ids(tokenizer: PreTrainedTokenizerBase, rewrites: Sequence[str]) -> list[list[int]]:
    """Token ids of each rewrite as the student writes it: a leading space, the words, the end token."""
    texts = [f" {rewrite}" if rewrite else "" for rewrite in rewrites]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return [[*row, tokenizer.eos_token_id] for row in ids]


def parse_completions(tokenizer: PreTrainedTokenizerBase, ids: Sequence[Sequence[int]]) -> list[str]:
    """Rewrites from sampled token ids: the first line, white space squeezed, special tokens dropped."""
    texts = tokenizer.batch_decode([list(row) for row in ids], skip_special_tokens=True)
    return [parse_text(text) for text in texts]


def parse_text(text: str) -> str:
    """The rewrite in what a model wrote: the first line with anything on it, white space squeezed."""
    return " ".join(text.strip().split("\n", 1)[0].split())
