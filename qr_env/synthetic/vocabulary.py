"""What a catalogue teaches about shoppers' words: the kind of each product, and other words for the same thing.

    learn(shop.products.take(rows)).items[7]   # Item(kind=('notebook', 'case'), brand='targus', …)

Titles are cut into noun phrases at punctuation, prepositions and numbers; the head of a phrase ends it ("ink cartridge
black" → cartridge), and a word that is often a head, under several brands, names a kind. Other words come from what
descriptions and categories say *instead* of the title: a word alignment (IBM Model 1, Brown et al. 1993, section 4.1)
between the title's words that the description lacks and the description's words that the title lacks. Its null word
takes the boilerplate, and explaining away keeps "bag" with "case" and "laptop" with "notebook", which plain PMI mixes.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from qr_env.common import tokenize
from qr_env.common.errors import ConfigError
from qr_env.synthetic.noun_phrases import COLOURS, UNITS, Parsed, Spread, content, headed, parse, stems


@dataclass(frozen=True, slots=True)
class Item:
    """What one product offers for a query; words are folded, none is stemmed.

    row: in the table that was learnt from. kind: one to three words, the head last. head_noun_score: how surely that names a
    kind, from 0 to about 3. sizes: such as ("500", "gb"). series: words that its brand alone uses. extras: words of
    the other fields that the title lacks. values: short attribute values that the title lacks.
    """

    row: int
    kind: tuple[str, ...]
    head_noun_score: float
    brand: str
    colours: tuple[str, ...]
    sizes: tuple[tuple[str, str], ...]
    series: tuple[str, ...]
    extras: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True)
class Catalogue:
    """What `learn` found.

    items: products that can be asked for. holds_S_V: (products, keys) int32 of ones, what each product holds. columns:
    key → column; a key is "t:" and a stem of any field, "h:" and the stem of the head of the product's kind or of one
    of its title's first two phrases, "b:" a brand, "c:" a colour, or "s:" a size.
    other_words: stem of a title word → words that descriptions say instead of it.
    words: the plain words of the titles, without brands and colours.
    """

    items: list[Item]
    holds_S_V: sp.csr_matrix
    columns: dict[str, int]
    other_words: dict[str, tuple[str, ...]]
    words: frozenset[str]


def learn(products: pa.Table) -> Catalogue:
    """Parse the products and learn kinds and other words from them, each product's row being its place in the table.

    Raises:
        ConfigError: no title holds a word that could name what the product is.
    """
    parsed = [parse(*fields) for fields in zip(*(products[name].to_pylist() for name in _FIELDS), strict=True)]
    head_noun_score, common = _kindness(parsed)
    kinds = [_kind(product.title, head_noun_score, common) for product in parsed]
    if not any(kinds):
        raise ConfigError(
            f"no queries can be made from these {len(parsed):,} products: no title holds a word of two letters or more"
            f" besides brands, colours and units (the first is {_first(products)!r}); give products.csv real titles, or"
            " bring queries and purchases of your own"
        )
    spread = Spread.of(parsed)
    extras = _extras(parsed, kinds, spread)
    items = [
        _item(row, product, kind, more, spread, head_noun_score[tokenize.stem(kind[-1])])
        for row, (product, kind, more) in enumerate(zip(parsed, kinds, extras, strict=True))
        if kind
    ]
    holds, columns = _holdings(parsed, kinds)
    words = frozenset(spread.title_words - COLOURS - UNITS)
    return Catalogue(items, holds, columns, _other_words(parsed, spread), words)


_FIELDS = ("title", "description", "brand", "category", "color", "attributes")


def _first(products: pa.Table) -> str:
    return products["title"][0].as_py() if len(products) else ""


def _kindness(parsed: Sequence[Parsed]) -> tuple[dict[str, float], set[str]]:
    """Stem → how much it names a kind, and the stems that more than one brand (or product) has.

    A kind is often the head of titles and of the same products' descriptions, under many brands.
    """
    seen, heads, said, brands = Counter[str](), Counter[str](), Counter[str](), set[tuple[str, str]]()
    for product in parsed:
        here = stems(product.title)
        seen.update(here)
        heads.update(set(product.heads))
        said.update(here & {tokenize.stem(p[-1]) for p in map(headed, product.rest) if p})
        brands.update((stem, product.brand) for stem in here)
    by_brand = Counter(stem for stem, brand in brands)
    has_brands = len({product.brand for product in parsed}) > 2
    # A word of one brand alone is the name of a series ("LaserJet"), not a kind.
    breadth = {stem: n if n > 1 else 0.15 for stem, n in by_brand.items()} if has_brands else seen
    sure = {stem: min(1.0, count / 3) * _length_factor(stem) for stem, count in seen.items()}
    share = {stem: (0.3 * heads[stem] + 0.7 * said[stem]) / count for stem, count in seen.items()}
    head_noun_score = {stem: share[stem] * math.log1p(breadth[stem]) * sure[stem] for stem in seen}
    return head_noun_score, {stem for stem in seen if breadth[stem] > 1}


def _length_factor(stem: str) -> float:
    """Two letters are mostly a plug or a series; these two are kinds."""
    return 1.0 if len(stem) > 2 or stem in ("tv", "pc") else 0.2


def _kind(title: list[list[str]], head_noun_score: dict[str, float], common: set[str]) -> tuple[str, ...]:
    """The phrase that says what the product is: the best head, earlier phrases first, and two common words before."""
    best: tuple[float, Sequence[str]] = (0.0, ())
    for place, phrase in enumerate(title[:6]):
        words = headed(phrase)
        if words and (score := head_noun_score[tokenize.stem(words[-1])] / (1 + 0.7 * place)) > best[0]:
            best = (score, words)
    words = best[1][-3:]
    known = [tokenize.stem(word) in common for word in words[:-1]]
    start = max((at + 1 for at, ok in enumerate(known) if not ok), default=0)
    plain = [
        word
        for word in words[start:-1]
        if word not in COLOURS and word not in UNITS and len(word) > 1 and "-" not in word
    ]
    return (*plain, words[-1]) if words else ()


def _extras(
    parsed: Sequence[Parsed], kinds: Sequence[tuple[str, ...]], spread: Spread
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """For each product, words and attribute values that its title lacks and that go with its kind (normalised PMI)."""
    pairs, owners = [], []
    for row, (product, kind) in enumerate(zip(parsed, kinds, strict=True)):
        if kind:
            head = tokenize.stem(kind[-1])
            words = {stem for stem in stems(map(headed, product.rest)) if _telling(stem, spread)}
            more = {stem: spread.word[stem] for stem in sorted(words - product.title_terms)}
            values = [v for v in dict.fromkeys(product.values) if not product.title_terms & set(tokenize.terms(v))]
            pairs += [(head, word) for word in more.values()] + [(head, "=" + value) for value in values]
            owners += [row] * (len(more) + len(values))
    found: list[list[tuple[float, str]]] = [[] for _ in parsed]
    score_N = _association(pairs, Counter(tokenize.stem(kind[-1]) for kind in kinds if kind), spread)
    for row, (_, word), score in zip(owners, pairs, score_N, strict=True):
        if score > _TOGETHER:
            found[row].append((score, word))
    return [_strongest(words) for words in found]


def _strongest(scored: list[tuple[float, str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Four words and three values, the best first."""
    ranked = [word for _, word in sorted(scored, reverse=True)]
    words, values = ([w.lstrip("=") for w in ranked if (w[0] == "=") == is_value] for is_value in (False, True))
    return tuple(words[:4]), tuple(values[:3])


_TOGETHER = 0.15


def _telling(stem: str, spread: Spread) -> bool:
    common = spread.rest[stem] >= spread.floor and spread.brands[stem] >= spread.two_brands
    return common and _sayable(stem, spread) and spread.rest[stem] <= 0.4 * spread.size


def _sayable(stem: str, spread: Spread) -> bool:
    """A word that shoppers might say: no abbreviation, unless several titles have it too ("tv", "hdd")."""
    word = spread.word[stem]
    spelt_out = len(word) > 3 and bool(re.search("[aeiouy]", word))
    return content(word) and (spelt_out or (len(word) > 1 and spread.title[stem] >= 3 * spread.floor))


def _association(pairs: list[tuple[str, str]], of_kind: Counter[str], spread: Spread) -> list[float]:
    """Normalised PMI of each (kind, word) pair (Bouma 2009); -1 where they come together too rarely to tell."""
    total, together, of_word = sum(of_kind.values()), Counter(pairs), Counter(word for _, word in pairs)
    scores = {}
    for (kind, word), count in together.items():
        pmi = math.log(count * total / (of_kind[kind] * of_word[word]))
        scores[kind, word] = pmi / -math.log(min(count / total, 0.5)) if count >= spread.floor else -1.0
    return [scores[pair] for pair in pairs]


def _item(
    row: int,
    product: Parsed,
    kind: tuple[str, ...],
    more: tuple[tuple[str, ...], tuple[str, ...]],
    spread: Spread,
    head_noun_score: float,
) -> Item:
    words = [word for phrase in product.title for word in phrase]
    own = [w for w in words if spread.brands[tokenize.stem(w)] == 1 and spread.title[tokenize.stem(w)] >= spread.floor]
    series = [word for word in own if content(word) and len(word) > 3 and word not in kind] if product.brand else []
    told = (product.brand, product.colours, product.sizes, tuple(series[:2]))
    return Item(row, kind, head_noun_score, *told, *more)


def _holdings(parsed: Sequence[Parsed], kinds: Sequence[tuple[str, ...]]) -> tuple[sp.csr_matrix, dict[str, int]]:
    """(products, keys) matrix of what each product holds, and key → column."""
    columns: dict[str, int] = {}
    rows: list[list[int]] = []
    for product, kind in zip(parsed, kinds, strict=True):
        heads = {*product.heads[:2], *(tokenize.stem(word) for word in kind[-1:])}
        # A word may be several terms to the index (Chinese): as a whole it is held too.
        said = product.terms | stems(product.title) | stems(product.rest)
        keys = [f"t:{term}" for term in said] + [f"h:{stem}" for stem in heads]
        keys += [f"b:{product.brand}"] * bool(product.brand) + [f"c:{colour}" for colour in product.colours]
        keys += [f"s:{number}{unit}" for number, unit in set(product.sizes)]
        rows.append([columns.setdefault(key, len(columns)) for key in sorted(keys)])
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.fromiter((column for row in rows for column in row), np.int32, count=int(indptr[-1]))
    data = np.ones(len(indices), np.int32)
    return sp.csr_matrix((data, indices, indptr), shape=(len(rows), max(len(columns), 1))), columns


_NULL = ""
_LONGEST = 12  # a description that says more new words than this is a list of specifications
_ROUNDS = 12


def _other_words(parsed: Sequence[Parsed], spread: Spread) -> dict[str, tuple[str, ...]]:
    """Title stem → words said instead of it, best first: IBM Model 1 over what title and description do not share.

    Heads align with heads and other words with other words: "Notebook Case" and "Laptop Bag" say laptop for notebook.
    """
    number: dict[tuple[str, str], int] = {}
    pair_list: list[int] = []
    group_list: list[int] = []
    groups = 0
    for product in parsed:
        if len(stems(product.rest) - product.title_terms) > _LONGEST:
            continue
        here = stems(product.rest)
        said = _by_role(product.rest[:4])
        for title, rest in zip(_by_role(product.title), said, strict=True):
            sources = [stem for stem in sorted(title - here) if _alignable(stem, spread)]
            for target in [stem for stem in sorted(rest - product.title_terms) if _alignable(stem, spread)]:
                line = [number.setdefault((source, target), len(number)) for source in (_NULL, *sources)]
                pair_list += line
                group_list += [groups] * len(line)
                groups += 1
    if not number:
        return {}
    return _best(*_align(number, np.array(pair_list), np.array(group_list)), spread)


def _by_role(found: Sequence[Sequence[str]]) -> tuple[set[str], set[str]]:
    """Stems that head a phrase, and the others."""
    named = [phrase for phrase in map(headed, found) if phrase]
    return stems([phrase[-1:] for phrase in named]), stems([phrase[:-1] for phrase in named])


def _alignable(stem: str, spread: Spread) -> bool:
    word = spread.word[stem]
    common = spread.title[stem] + spread.rest[stem] >= spread.floor and spread.brands[stem] >= spread.two_brands
    return common and content(word)


def _align(
    number: dict[tuple[str, str], int], pairs: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]
) -> tuple[list[tuple[str, str]], npt.NDArray[np.float64]]:
    """Expected count of each (source, target) pair; a group is one target word of one product with its sources."""
    keys = list(number)
    source_of: dict[str, int] = {}
    source = np.array([source_of.setdefault(name, len(source_of)) for name, _ in keys])
    chance = counts = np.ones(len(keys), np.float64)
    for _ in range(_ROUNDS):
        weight = chance[pairs]
        counts = np.bincount(pairs, weight / np.bincount(groups, weight)[groups]).astype(np.float64)
        chance = counts / np.bincount(source, counts)[source] + 1e-300
    return keys, counts


def _best(keys: list[tuple[str, str]], counts: npt.NDArray[np.float64], spread: Spread) -> dict[str, tuple[str, ...]]:
    """Pairs with enough evidence, each a good share of both its words."""
    of_source, of_target = Counter[str](), Counter[str]()
    for (source, target), count in zip(keys, counts.tolist(), strict=True):
        of_source[source] += count
        of_target[target] += count
    found: dict[str, list[tuple[float, str]]] = {}
    for (source, target), count in zip(keys, counts.tolist(), strict=True):
        share = count / of_target[target]
        enough = count >= spread.floor - 0.5 and count >= 0.06 * of_source[source] and share >= 0.2
        if source and enough and _sayable(target, spread):
            found.setdefault(source, []).append((count * share, spread.word[target]))
    return {source: tuple(word for _, word in sorted(words, reverse=True)[:3]) for source, words in found.items()}
