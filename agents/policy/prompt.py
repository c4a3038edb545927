"""The prompt template of every student, and the token ids of prompts and completions.

The completion is the rewrite. In `expand` mode it holds the words to add; an empty one keeps the original query.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATE = "Query: {query}\nRewrite:"
RETRY_TEMPLATE = "Query: {query}\nTried: {rewrite}\nFound: {found}\nRewrite:"
# Queries are short; a pasted page is truncated, because one long query would pad its whole batch.
MAX_QUERY_CHARACTERS = 200
MAX_FOUND_CHARACTERS = 160


def prompt_text(query: str) -> str:
    """The text that the student continues."""
    return TEMPLATE.format(query=_one_line(query, MAX_QUERY_CHARACTERS))


def retry_prompt_text(query: str, rewrite: str, found: str) -> str:
    """The prompt of a later turn: the query, the last rewrite, and the titles of the products that it found."""
    return RETRY_TEMPLATE.format(
        query=_one_line(query, MAX_QUERY_CHARACTERS),
        rewrite=_one_line(rewrite, MAX_QUERY_CHARACTERS),
        found=_one_line(found, MAX_FOUND_CHARACTERS),
    )


def _one_line(text: str, characters: int) -> str:
    """The text on one line, truncated to `characters`."""
    return " ".join(text.split())[:characters]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, queries: Sequence[str]) -> list[list[int]]:
    """Token ids of each query's prompt, without special tokens."""
    return text_ids(tokenizer, [prompt_text(query) for query in queries])


def text_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without special tokens; [] for no text."""
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []


def completion_ids(tokenizer: PreTrainedTokenizerBase, rewrites: Sequence[str]) -> list[list[int]]:
    """Token ids of each rewrite as a completion: a leading space, the words, the end token."""
    texts = [f" {rewrite}" if rewrite else "" for rewrite in rewrites]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return [[*row, tokenizer.eos_token_id] for row in ids]


def parse_completions(tokenizer: PreTrainedTokenizerBase, ids: Sequence[Sequence[int]]) -> list[str]:
    """Rewrites of sampled token ids: the first line, without special tokens and repeated white space."""
    texts = tokenizer.batch_decode([list(row) for row in ids], skip_special_tokens=True)
    return [parse_text(text) for text in texts]


def parse_text(text: str) -> str:
    """The rewrite in a generated text: its first line that is not empty, without repeated white space."""
    return " ".join(text.strip().split("\n", 1)[0].split())
