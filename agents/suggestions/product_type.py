"""The product type that a query means, by a vote of the titles that an engine finds.

    source = TypeSource(dense, shop, repair)
    source.suggest(["something to sit on"])        # [[Suggestion("chair", 0.6, "type")]]

Each of the `TITLES` nearest products votes for the head noun of its title ("Delta Vero 1-Handle Shower Faucet in
Chrome" → faucet) and, in a shop with categories, for those of its category's leaf ("Bath > Shower Faucets"). A type
needs `MIN_SHARE` of the products. A query that says the type already, in any of its words, needs no other: types with
fewer votes than the first one that the query has are not suggested.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from agents.suggestions.base import Suggestion
from qr_env.common.protocols import Retriever
from qr_env.query_text.repair import Repair
from qr_env.retrieval.combine import search_unique
from qr_env.shop.shop import Shop
from qr_env.synthetic.grammar import Grammar, grammar

TITLES = 10  # nearest products that vote
MIN_SHARE = 0.3  # of the products that vote
AT_MOST = 2  # types for a query
_CLAUSE_END = re.compile(r"[,;:(\[|]|\s[-–—]\s")
_LEAF = re.compile(r"[>/|]")


class TypeSource:
    """The head nouns that the nearest products share; the weight is the share of the products.

    Args:
        engine: searches the repaired queries, in one call a batch.
        shop: the products of the engine.
        repair: of the queries, before they are searched; of this shop.
    """

    name = "type"

    def __init__(self, engine: Retriever, shop: Shop, repair: Repair) -> None:
        self._engine, self._repair, self._tokenizer = engine, repair, shop.tokenizer
        columns = zip(shop.titles, _leaves(shop), shop.products["brand"].to_pylist(), strict=True)
        words = [_types(title, leaf, brand, grammar(shop.language)) for title, leaf, brand in columns]
        self._word = _most_frequent_spelling((word for own in words for word in own), shop.tokenizer.stem)
        self._stems_C = [tuple({shop.tokenizer.stem(word) for word in own}) for own in words]

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        """See `SuggestionSource.suggest`."""
        repaired = [self._repair.corrected(query) for query in queries]
        hits = search_unique(self._engine, repaired, TITLES)
        texts = (f"{query} {text}" for query, text in zip(queries, repaired, strict=True))
        lists = zip(texts, hits.rows_NK.tolist(), strict=True)
        return [self._voted(self._stems_of(text), [row for row in rows_K if row >= 0]) for text, rows_K in lists]

    def _stems_of(self, text: str) -> set[str]:
        return set(map(self._tokenizer.stem, self._tokenizer.words(text)))

    def _voted(self, own: set[str], rows: list[int]) -> list[Suggestion]:
        """The types of one query's products, with most votes first; of equal ones the first in the alphabet."""
        votes = Counter(stem for row in rows for stem in self._stems_C[row])
        ranked = sorted(votes, key=lambda stem: (-votes[stem], stem))
        suggestions: list[Suggestion] = []
        for stem in ranked[:AT_MOST]:
            share = votes[stem] / len(rows)
            if stem in own or share < MIN_SHARE:
                break
            suggestions.append(Suggestion(self._word[stem], share, self.name))
        return suggestions


def head_noun(title: str, of: Grammar, brand: str = "") -> str:
    """The head noun of a title's first clause, in English the last word that can name a thing; "" for none."""
    brand_words = set(of.tokenizer.words(brand))
    heads = [head for head in _heads(_CLAUSE_END.split(title, maxsplit=1)[0], of) if head not in brand_words]
    return of.spoken(heads)[-1] if heads else ""


def _heads(text: str, of: Grammar) -> list[str]:
    """The head nouns of a text's phrases, in order."""
    return [named[-1] for phrase in of.phrases(text) if (named := of.up_to_head(phrase))]


def _types(title: str, leaf: str, brand: str, of: Grammar) -> set[str]:
    """The words that one product votes for, as `Tokenizer.words` gives them."""
    heads = [head_noun(title, of, brand), *_heads(leaf, of)]
    return {head for head in heads if of.tokenizer.words(head) == [head] and of.tokenizer.stem(head)}


def _leaves(shop: Shop) -> list[str]:
    """Last part of every product's category, by row; "" where a product has none."""
    return [_LEAF.split(category)[-1] for category in shop.products["category"].to_pylist()]


def _most_frequent_spelling(words: Iterable[str], stem: Callable[[str], str]) -> dict[str, str]:
    """Stem → its word that most products vote for, the first in the alphabet of equally frequent ones."""
    counts = Counter(words)
    order = sorted(counts, key=lambda word: (counts[word], [-ord(letter) for letter in word]))
    return {stem(word): word for word in order}
