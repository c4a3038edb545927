"""Learn from a catalogue the head noun phrase (kind) of each product, and synonyms of title words.

    learn(shop.products.take(rows), grammar("en")).items[7]   # Item(kind=('notebook', 'case'), brand='targus', …)

A word that is often the head of a noun phrase, under several brands, names a kind. Synonyms come from words that
descriptions and categories use *instead* of the title's: a word alignment (IBM Model 1, Brown et al. 1993, section 4.1)
between the title's words that the description lacks and the description's words that the title lacks. Its null word
absorbs boilerplate, and explaining away keeps "bag" with "case" and "laptop" with "notebook", which plain PMI mixes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from qr_env.common.errors import ConfigError
from qr_env.synthetic.grammar import UNITS, Grammar
from qr_env.synthetic.noun_phrases import Parsed, ProductText, StemCounts, parse


@dataclass(frozen=True, slots=True)
class Item:
    """The parts of one product from which queries are composed; words are normalised, not stemmed."""

    row: int
    """Row in the product table passed to `learn`."""
    kind: tuple[str, ...]
    """One to three words that name the product, the head noun last."""
    head_noun_score: float
    """How reliably the last word names a kind, from 0 to about 3."""
    brand: str
    """Brand, "" if unknown."""
    colours: tuple[str, ...]
    """At most one colour."""
    sizes: tuple[tuple[str, str], ...]
    """Sizes, such as ("500", "gb")."""
    series: tuple[str, ...]
    """At most two title words that only its brand uses."""
    extras: tuple[str, ...]
    """Words of the other fields that the title lacks, best first."""
    values: tuple[str, ...]
    """Short attribute values that the title lacks, best first."""


@dataclass(frozen=True)
class Catalogue:
    """The result of `learn`."""

    items: list[Item]
    """Products from which queries can be composed."""
    keys_of_product: sp.csr_matrix
    """(products, keys) int32, 1 where the product has the key."""
    columns: dict[str, int]
    """Key → column. A key is "t:" + a stem of any field, "h:" + the stem of a head noun (of the kind or of one of the
    title's first two phrases), "b:" + a brand, "c:" + a colour, or "s:" + a size."""
    synonyms: dict[str, tuple[str, ...]]
    """Stem of a title word → words that descriptions use instead of it."""
    words: frozenset[str]
    """Words of the titles, without brands, colours and units."""
    grammar: Grammar
    """Of the products' language."""


def learn(products: pa.Table, grammar: Grammar) -> Catalogue:
    """Parse the products and learn their kinds and synonyms; a product's row is its position in the table.

    Raises:
        ConfigError: no title has a word that can name a product.
    """
    texts = zip(*(products[name].to_pylist() for name in _FIELDS), strict=True)
    parsed = [parse(ProductText(*fields), grammar) for fields in texts]
    head_noun_score, common = _head_noun_scores(parsed, grammar)
    kinds = [_kind(product.title, head_noun_score, common, grammar) for product in parsed]
    if not any(kinds):
        raise ConfigError(
            f"no queries can be made from these {len(parsed):,} products: no title has a word of two letters or more"
            f" besides brands, colours and units (the first is {_first(products)!r}); give products.csv real titles, or"
            " bring queries and purchases of your own"
        )
    occurrences = StemCounts.of(parsed, grammar)
    extras = _extras(parsed, kinds, occurrences, grammar)
    items = [
        _item(row, product, kind, more, occurrences, head_noun_score[grammar.tokenizer.stem(kind[-1])], grammar)
        for row, (product, kind, more) in enumerate(zip(parsed, kinds, extras, strict=True))
        if kind
    ]
    keys_of_product, columns = _keys_of_products(parsed, kinds, grammar)
    words = frozenset(occurrences.title_words - grammar.colours - UNITS)
    return Catalogue(items, keys_of_product, columns, _synonyms(parsed, occurrences, grammar), words, grammar)


_FIELDS = ("title", "description", "brand", "category", "color", "attributes")


def _first(products: pa.Table) -> str:
    return products["title"][0].as_py() if len(products) else ""


def _head_noun_scores(parsed: Sequence[Parsed], grammar: Grammar) -> tuple[dict[str, float], set[str]]:
    """Stem → score of naming a kind, and the stems that more than one brand (or product) has.

    The score is high for stems that are head nouns of titles and of the same products' descriptions, in many brands.
    """
    titles, heads, both, brands = Counter[str](), Counter[str](), Counter[str](), set[tuple[str, str]]()
    for product in parsed:
        here = grammar.stems(product.title)
        titles.update(here)
        heads.update(set(product.heads))
        both.update(here & {grammar.tokenizer.stem(p[-1]) for p in map(grammar.up_to_head, product.rest) if p})
        brands.update((stem, product.brand) for stem in here)
    by_brand = Counter(stem for stem, brand in brands)
    has_brands = len({product.brand for product in parsed}) > 2
    # A word of a single brand is the name of a series ("LaserJet"), not a kind.
    breadth = {stem: n if n > 1 else 0.15 for stem, n in by_brand.items()} if has_brands else titles
    confidence = {stem: min(1.0, count / 3) * _length_factor(stem, grammar) for stem, count in titles.items()}
    share = {stem: (0.3 * heads[stem] + 0.7 * both[stem]) / count for stem, count in titles.items()}
    head_noun_score = {stem: share[stem] * math.log1p(breadth[stem]) * confidence[stem] for stem in titles}
    return head_noun_score, {stem for stem in titles if breadth[stem] > 1}


def _length_factor(stem: str, grammar: Grammar) -> float:
    """Two-letter stems are mostly connectors or series; "tv" and "pc" are kinds, and so are words of two ideographs."""
    return 1.0 if len(stem) > 2 or stem in ("tv", "pc") or grammar.may_be_short(stem) else 0.2


def _kind(
    title: list[list[str]], head_noun_score: dict[str, float], common: set[str], grammar: Grammar
) -> tuple[str, ...]:
    """The best-scoring head noun, earlier phrases favoured, with up to two common words before it."""
    stem = grammar.tokenizer.stem
    best: tuple[float, Sequence[str]] = (0.0, ())
    for place, phrase in enumerate(title[:6]):
        words = grammar.up_to_head(phrase)
        if words and (score := head_noun_score[stem(words[-1])] / (1 + 0.7 * place)) > best[0]:
            best = (score, words)
    words = best[1][-3:]
    known = [stem(word) in common for word in words[:-1]]
    start = max((at + 1 for at, ok in enumerate(known) if not ok), default=0)
    plain = [
        word
        for word in words[start:-1]
        if word not in grammar.colours and word not in UNITS and len(word) > 1 and "-" not in word
    ]
    return (*plain, words[-1]) if words else ()


def _extras(
    parsed: Sequence[Parsed], kinds: Sequence[tuple[str, ...]], occurrences: StemCounts, grammar: Grammar
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """For each product, words and attribute values that its title lacks, associated with its kind (normalised PMI)."""
    stem_of, terms = grammar.tokenizer.stem, grammar.tokenizer.terms
    pairs, owners = [], []
    for row, (product, kind) in enumerate(zip(parsed, kinds, strict=True)):
        if kind:
            head = stem_of(kind[-1])
            found_stems = grammar.stems([grammar.up_to_head(phrase) for phrase in product.rest])
            words = {stem for stem in found_stems if _informative(stem, occurrences, grammar)}
            more = {stem: occurrences.word[stem] for stem in sorted(words - product.title_terms)}
            values = [v for v in dict.fromkeys(product.values) if not product.title_terms & set(terms(v))]
            pairs += [(head, word) for word in more.values()] + [(head, "=" + value) for value in values]
            owners += [row] * (len(more) + len(values))
    found: list[list[tuple[float, str]]] = [[] for _ in parsed]
    score_N = _association(pairs, Counter(stem_of(kind[-1]) for kind in kinds if kind), occurrences)
    for row, (_, word), score in zip(owners, pairs, score_N, strict=True):
        if score > _MIN_ASSOCIATION:
            found[row].append((score, word))
    return [_strongest(words) for words in found]


def _strongest(scored: list[tuple[float, str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The four best words and three best values."""
    ranked = [word for _, word in sorted(scored, reverse=True)]
    words, values = ([w.lstrip("=") for w in ranked if (w[0] == "=") == is_value] for is_value in (False, True))
    return tuple(words[:4]), tuple(values[:3])


_MIN_ASSOCIATION = 0.15  # normalised PMI


def _informative(stem: str, occurrences: StemCounts, grammar: Grammar) -> bool:
    common = occurrences.rest[stem] >= occurrences.min_count and occurrences.brands[stem] >= occurrences.min_brands
    return common and _plain_word(stem, occurrences, grammar) and occurrences.rest[stem] <= 0.4 * occurrences.size


def _plain_word(stem: str, occurrences: StemCounts, grammar: Grammar) -> bool:
    """Whether a shopper may use the word: no abbreviation, unless several titles have it ("tv", "hdd")."""
    word = occurrences.word[stem]
    return grammar.can_be_head(word) and (
        grammar.is_full(word) or (len(word) > 1 and occurrences.title[stem] >= 3 * occurrences.min_count)
    )


def _association(pairs: list[tuple[str, str]], of_kind: Counter[str], occurrences: StemCounts) -> list[float]:
    """Normalised PMI of each (kind, word) pair (Bouma 2009); -1 for pairs that are too rare."""
    total, joint, of_word = sum(of_kind.values()), Counter(pairs), Counter(word for _, word in pairs)
    scores = {}
    for (kind, word), count in joint.items():
        pmi = math.log(count * total / (of_kind[kind] * of_word[word]))
        scores[kind, word] = pmi / -math.log(min(count / total, 0.5)) if count >= occurrences.min_count else -1.0
    return [scores[pair] for pair in pairs]


def _item(
    row: int,
    product: Parsed,
    kind: tuple[str, ...],
    more: tuple[tuple[str, ...], tuple[str, ...]],
    occurrences: StemCounts,
    head_noun_score: float,
    grammar: Grammar,
) -> Item:
    stem = grammar.tokenizer.stem
    words = [word for phrase in product.title for word in phrase]
    own = [w for w in words if occurrences.brands[stem(w)] == 1 and occurrences.title[stem(w)] >= occurrences.min_count]
    series = (
        [word for word in own if grammar.can_be_head(word) and len(word) > 3 and word not in kind]
        if product.brand
        else []
    )
    facts = (product.brand, product.colours, product.sizes, tuple(series[:2]))
    return Item(row, kind, head_noun_score, *facts, *more)


def _keys_of_products(
    parsed: Sequence[Parsed], kinds: Sequence[tuple[str, ...]], grammar: Grammar
) -> tuple[sp.csr_matrix, dict[str, int]]:
    """(products, keys) matrix of the keys of each product, and key → column."""
    columns: dict[str, int] = {}
    rows: list[list[int]] = []
    for product, kind in zip(parsed, kinds, strict=True):
        heads = {*product.heads[:2], *(grammar.tokenizer.stem(word) for word in kind[-1:])}
        # A word may be several index terms (Chinese); the whole word is a key too.
        known = product.terms | grammar.stems(product.title) | grammar.stems(product.rest)
        keys = [f"t:{term}" for term in known] + [f"h:{stem}" for stem in heads]
        keys += [f"b:{product.brand}"] * bool(product.brand) + [f"c:{colour}" for colour in product.colours]
        keys += [f"s:{number}{unit}" for number, unit in set(product.sizes)]
        rows.append([columns.setdefault(key, len(columns)) for key in sorted(keys)])
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.fromiter((column for row in rows for column in row), np.int32, count=int(indptr[-1]))
    data = np.ones(len(indices), np.int32)
    return sp.csr_matrix((data, indices, indptr), shape=(len(rows), max(len(columns), 1))), columns


_NULL = ""
_MAX_NEW_WORDS = 12  # a description with more new words is a list of specifications
_ROUNDS = 12


def _synonyms(parsed: Sequence[Parsed], occurrences: StemCounts, grammar: Grammar) -> dict[str, tuple[str, ...]]:
    """Title stem → synonyms, best first: IBM Model 1 over the words that title and description do not share.

    Heads align with heads, other words with other words: "Notebook Case" and "Laptop Bag" give laptop for notebook.
    """
    pair_number: dict[tuple[str, str], int] = {}
    pair_list: list[int] = []
    group_list: list[int] = []
    groups = 0
    for product in parsed:
        here = grammar.stems(product.rest)
        if len(here - product.title_terms) > _MAX_NEW_WORDS:
            continue
        for title, rest in zip(_by_role(product.title, grammar), _by_role(product.rest[:4], grammar), strict=True):
            sources = [stem for stem in sorted(title - here) if _alignable(stem, occurrences, grammar)]
            for target in [
                stem for stem in sorted(rest - product.title_terms) if _alignable(stem, occurrences, grammar)
            ]:
                line = [pair_number.setdefault((source, target), len(pair_number)) for source in (_NULL, *sources)]
                pair_list += line
                group_list += [groups] * len(line)
                groups += 1
    if not pair_number:
        return {}
    return _best_pairs(*_align(pair_number, np.array(pair_list), np.array(group_list)), occurrences, grammar)


def _by_role(found: Sequence[Sequence[str]], grammar: Grammar) -> tuple[set[str], set[str]]:
    """Stems of the phrases' head nouns, and of their other words."""
    named = [phrase for phrase in map(grammar.up_to_head, found) if phrase]
    return grammar.stems([phrase[-1:] for phrase in named]), grammar.stems([phrase[:-1] for phrase in named])


def _alignable(stem: str, occurrences: StemCounts, grammar: Grammar) -> bool:
    word = occurrences.word[stem]
    common = (
        occurrences.title[stem] + occurrences.rest[stem] >= occurrences.min_count
        and occurrences.brands[stem] >= occurrences.min_brands
    )
    return common and grammar.can_be_head(word)


def _align(
    pair_number: dict[tuple[str, str], int], pairs: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]
) -> tuple[list[tuple[str, str]], npt.NDArray[np.float64]]:
    """Expected count of each (source, target) pair by EM; a group: one target word of one product and its sources."""
    keys = list(pair_number)
    source_of: dict[str, int] = {}
    source = np.array([source_of.setdefault(name, len(source_of)) for name, _ in keys])
    translation = counts = np.ones(len(keys), np.float64)
    for _ in range(_ROUNDS):
        weight = translation[pairs]
        counts = np.bincount(pairs, weight / np.bincount(groups, weight)[groups]).astype(np.float64)
        translation = counts / np.bincount(source, counts)[source] + 1e-300
    return keys, counts


def _best_pairs(
    keys: list[tuple[str, str]], counts: npt.NDArray[np.float64], occurrences: StemCounts, grammar: Grammar
) -> dict[str, tuple[str, ...]]:
    """Pairs with enough evidence that make up a large share of the counts of both words."""
    of_source, of_target = Counter[str](), Counter[str]()
    for (source, target), count in zip(keys, counts.tolist(), strict=True):
        of_source[source] += count
        of_target[target] += count
    found: dict[str, list[tuple[float, str]]] = {}
    for (source, target), count in zip(keys, counts.tolist(), strict=True):
        share = count / of_target[target]
        enough = count >= occurrences.min_count - 0.5 and count >= 0.06 * of_source[source] and share >= 0.2
        if source and enough and _plain_word(target, occurrences, grammar):
            found.setdefault(source, []).append((count * share, occurrences.word[target]))
    return {source: tuple(word for _, word in sorted(words, reverse=True)[:3]) for source, words in found.items()}
