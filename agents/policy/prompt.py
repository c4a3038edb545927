"""The prompt templates of every student, and the token ids of prompts and completions.

    Query: paint gun               Query: paint gun
    Rewrite: sprayer               Matches: 0
                                   Words: titles 1 sprayer .1 2 airless .1 3 hvlp .08
                                   Rewrite: 1 3

The completion is the rewrite, or a choice of numbered suggestions where the prompt holds some
(`agents.suggestions.suggester`). In `expand` mode it holds the words to add; an empty one keeps the original query.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agents.suggestions.suggester import Offer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATE = "Query: {query}\nRewrite:"
SUGGESTED_TEMPLATE = "Query: {query}\nMatches: {matches}\nWords:{words}\nRewrite:"
RETRY_TEMPLATE = "Query: {query}\nTried: {rewrite}\nFound: {found}\nRewrite:"
SUGGESTED_RETRY_TEMPLATE = (
    "Query: {query}\nTried: {rewrite}\nFound: {found}\nMatches: {matches}\nWords:{words}\nRewrite:"
)
# Queries are short; a pasted page is truncated, because one long query would pad its whole batch.
MAX_QUERY_CHARACTERS = 200
MAX_FOUND_CHARACTERS = 160
MAX_WORD_CHARACTERS = 24


def prompt_text(query: str, offer: Offer | None = None) -> str:
    """The text that the student continues; `offer` None is a student that sees no suggestions."""
    line = _one_line(query, MAX_QUERY_CHARACTERS)
    if offer is None:
        return TEMPLATE.format(query=line)
    return SUGGESTED_TEMPLATE.format(query=line, matches=offer.full_matches, words=words_text(offer))


def retry_prompt_text(query: str, rewrite: str, found: str, offer: Offer | None = None) -> str:
    """The prompt of a later turn: the query, the last rewrite, and the titles of the products that it found."""
    template = RETRY_TEMPLATE if offer is None else SUGGESTED_RETRY_TEMPLATE
    return template.format(
        query=_one_line(query, MAX_QUERY_CHARACTERS),
        rewrite=_one_line(rewrite, MAX_QUERY_CHARACTERS),
        found=_one_line(found, MAX_FOUND_CHARACTERS),
        matches="" if offer is None else offer.full_matches,
        words="" if offer is None else words_text(offer),
    )


def words_text(offer: Offer) -> str:
    """The numbered suggestions with a leading space: each source before its first word, and weights other than 1."""
    parts, source = [], ""
    for number, item in enumerate(offer.words, 1):
        if item.source != source:
            parts.append(item.source)
        source = item.source
        parts += [str(number), item.word[:MAX_WORD_CHARACTERS]]
        if (weight := f"{item.weight:.1g}") != "1":
            parts.append(weight.removeprefix("0"))
    return "".join(f" {part}" for part in parts)


def _one_line(text: str, characters: int) -> str:
    """The text on one line, truncated to `characters`."""
    return " ".join(text.split())[:characters]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, queries: Sequence[str]) -> list[list[int]]:
    """Token ids of each query's prompt without suggestions, without special tokens."""
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
