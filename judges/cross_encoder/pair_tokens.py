"""Query–product pairs as model inputs: each text is tokenised once, pairs are assembled by array operations.

    tokens = PairTokens(tokenizer, max_length=48)
    ids_MT, types_MT, lengths_M = tokens.layout(queries, products)     # ready to sort by length and cut into batches

A pair follows the model's own template, "[CLS] query [SEP] product [SEP]" for BERT, which is read off one tokenised
pair. A query keeps at most half of the tokens; the product gets the rest, and is cut at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXTS_KEPT = 1 << 18  # texts whose tokens stay in memory; beyond that the oldest half is dropped
SEPARATOR = "\n"  # between the texts where the model has no separator (a causal LM)

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Template:
    """Special tokens of a pair."""

    before: Ids
    """token ids before the query"""
    between: Ids
    """token ids between query and product"""
    after: Ids
    """token ids after the product"""
    types: tuple[int, int, int, int, int]
    """token type of the five parts: before, query, between, product, after"""


class PairTokens:
    """Tokenises each text once and assembles pairs.

    Args:
        tokenizer: any Hugging Face tokenizer.
        max_length: tokens of a pair including special ones, at least 8.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        if max_length < 8:
            raise ConfigError(f"max_length={max_length}: a query and a product need 8 tokens or more")
        self.tokenizer, self.max_length = tokenizer, max_length
        self.template = template_of(tokenizer)
        self.pad = int(tokenizer.pad_token_id or 0)
        self._known: dict[str, Ids] = {}

    def layout(self, queries: Sequence[str], products: Sequence[str]) -> tuple[Ids, Ids, Ids]:
        """Token ids and token types, (M, T) padded on the right, and lengths (M,), of M pairs."""
        query_M, product_M = self._tokens(queries), self._tokens(products)
        t = self.template
        room = self.max_length - len(t.before) - len(t.between) - len(t.after)
        query_length_M = np.minimum([len(ids) for ids in query_M], room // 2)
        product_length_M = np.minimum([len(ids) for ids in product_M], room - query_length_M)
        counts_M5 = np.column_stack(
            [
                np.broadcast_to(n, len(query_M))
                for n in (len(t.before), query_length_M, len(t.between), product_length_M, len(t.after))
            ]
        ).astype(np.int64)
        ends_M5 = np.cumsum(counts_M5, axis=1)
        lengths_M = ends_M5[:, -1]
        places_T = np.arange(int(lengths_M.max(initial=0)))
        ids_MT = np.full((len(query_M), len(places_T)), self.pad, np.int64)
        types_MT = np.zeros_like(ids_MT)
        pieces = (
            t.before,
            _concatenate_cut(query_M, query_length_M),
            t.between,
            _concatenate_cut(product_M, product_length_M),
            t.after,
        )
        for part, ids in enumerate(pieces):
            end_M1, count_M1 = ends_M5[:, part, None], counts_M5[:, part, None]
            part_MT = (places_T < end_M1) & (places_T >= end_M1 - count_M1)
            ids_MT[part_MT] = ids if part in (1, 3) else np.tile(ids, len(query_M))
            types_MT[part_MT] = t.types[part]
        return ids_MT, types_MT, lengths_M

    def _tokens(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text, without special ones; new texts are tokenised in one call."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            found = self.tokenizer(new, add_special_tokens=False, truncation=True, max_length=self.max_length)
            self._known |= {text: np.array(ids, np.int64) for text, ids in zip(new, found["input_ids"], strict=True)}
        tokens = [self._known[text] for text in texts]
        if len(self._known) > TEXTS_KEPT:
            self._known = dict(list(self._known.items())[len(self._known) // 2 :])
        return tokens


def _concatenate_cut(ids_M: Sequence[Ids], counts_M: npt.NDArray[np.int_]) -> Ids:
    """The first counts_M[m] ids of each array, concatenated."""
    if not len(ids_M):
        return np.zeros(0, np.int64)
    sizes_M = np.array([len(ids) for ids in ids_M])
    place = np.arange(sizes_M.sum()) - np.repeat(np.cumsum(sizes_M) - sizes_M, sizes_M)
    return np.concatenate(ids_M)[place < np.repeat(counts_M, sizes_M)]


def template_of(tokenizer: PreTrainedTokenizerBase) -> Template:
    """The tokenizer's template, read off the pair ("a", "b")."""
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", "b"))
    pair = tokenizer("a", "b", return_token_type_ids=True)
    ids, types = list(pair["input_ids"]), list(pair["token_type_ids"])
    at = _find(ids, first, 0)
    then = _find(ids, second, at + len(first))
    between, end = ids[at + len(first) : then], then + len(second)
    if not between:
        between = tokenizer(SEPARATOR, add_special_tokens=False)["input_ids"]
    part_types = (types[0], types[at], types[at + len(first)], types[then], types[-1])
    special = [np.array(part, np.int64) for part in (ids[:at], between, ids[end:])]
    return Template(special[0], special[1], special[2], part_types)


def _find(ids: list[int], part: list[int], start: int) -> int:
    for at in range(start, len(ids) - len(part) + 1):
        if part and ids[at : at + len(part)] == part:
            return at
    raise ConfigError(f"the tokenizer encodes the pair (a, b) as {ids}, without {part}: it cannot be used")
