"""Queries made from a catalogue, for a shop that has no purchases or no queries to learn from.

    shop = with_catalogue_queries(load_shop("my_folder"), n=8_000, seed=0)   # what `qr online my_folder` calls

Each query starts from one product and the few words that say what it is. About a third stay words of the title; a
third say something as the catalogue's other fields say it and the title does not ("laptop bag" for a notebook case,
see `catalogue_words.py`); a third are written carelessly: typos, joined and split words, units, plurals. Nothing here
is a human label: a product counts as Exact for a query when it holds all the words that were meant, before they were
replaced or misspelt, and every other product stays ungraded.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from qr_env.common import tokenize
from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT
from qr_env.shop.shop import PURCHASE_SCHEMA, QUERY_SCHEMA, Shop
from qr_env.synthetic.typos import careless, size_text
from qr_env.synthetic.vocabulary import Catalogue, Item, learn

# Larger catalogues are sampled: words are learnt, queries made and relevance known within the sample.
MAX_PRODUCTS = 30_000
MAX_EXACT = 500
PER_PRODUCT = 20  # more queries than this a product would be the same ones with other typing errors
CLEAN_SHARE = 0.36
OTHER_SHARE = 0.34
DEV_SHARE = 0.1
ZIPF = 0.8

log = logging.getLogger("qr_env.synthetic.queries")
Rows = npt.NDArray[np.int64]


@dataclass(slots=True)
class Draft:
    """A query in the making. words: as meant. intent: keys of `Catalogue.columns` that a relevant product holds.

    literal: keys of what the text says, where that is another word for the intent; else the intent. item: its source.
    style: "title", "other" or "careless".
    """

    item: Item
    words: list[str]
    intent: list[str]
    literal: list[str]
    style: str


def with_catalogue_queries(shop: Shop, n: int, seed: int) -> Shop:
    """The shop with up to n more queries, made from its products: 90 % train, 10 % dev, never test.

    The shop's own queries come first, with their splits, grades and purchases as they were. Texts are new: none equals
    another or one of the shop's, whatever the case. Frequencies follow Zipf's law, the texts that were drawn most
    often first. A query's source product and one near-identical product are bought for it, and its grades are Exact
    for at most 500 products that hold what was meant (see the module). `slices["generated"]` marks the new queries.
    A catalogue too small for n different texts gives fewer, with a warning: at most 20 a product. `qrels_complete`
    becomes False: what a generated query has no grade for is not known to be irrelevant.

    Raises:
        ConfigError: n is below 1, or no title holds a word to make a query from.
    """
    if n < 1:
        raise ConfigError(f"n={n} catalogue queries: ask for 1 or more")
    if len(shop.products) == 0:
        raise ConfigError(f"{shop!r} has no products to make queries from")
    generator = np.random.default_rng(seed)
    rows_S = np.arange(len(shop.products))
    if len(rows_S) > MAX_PRODUCTS:
        rows_S = np.sort(generator.choice(rows_S, MAX_PRODUCTS, replace=False))
    catalogue = learn(shop.products.take(rows_S))
    taken = {_folded(text) for text in shop.queries["query"].to_pylist()}
    drafts, drawn_N = _different(catalogue, min(n, PER_PRODUCT * len(catalogue.items)), random.Random(seed), taken)
    if len(drafts) < n:
        log.warning("%s: too small for %s queries, %s were made", shop.name, f"{n:,}", f"{len(drafts):,}")
    relevant = _relevant(catalogue, list(drafts.values()), generator)
    return _extended(shop, drafts, drawn_N, relevant, rows_S, generator)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _different(
    catalogue: Catalogue, n: int, rng: random.Random, taken: set[str]
) -> tuple[dict[str, Draft], npt.NDArray[np.int64]]:
    """Text → draft of up to n different texts, and how often each was drawn; gives up when little new comes."""
    weights = _source_weights(catalogue.items)
    drafts: dict[str, Draft] = {}
    drawn: Counter[str] = Counter()
    while len(drafts) < n:
        before = len(drafts)
        wave = max(n, 200)
        for item in rng.choices(catalogue.items, cum_weights=weights, k=wave):
            draft = compose(item, catalogue, rng)
            text = careless(draft.words, rng, catalogue.words) if draft.style == "careless" else " ".join(draft.words)
            if len(text) > 1 and (key := _folded(text)) not in taken:
                drawn[key] += 1
                drafts.setdefault(key, draft)
        if len(drafts) - before < wave / 100:
            break
    if not drafts:
        raise ConfigError("every query that these titles give is one of the shop's own: there is nothing to add")
    kept = dict(list(drafts.items())[:n])
    return kept, np.array([drawn[text] for text in kept])


def _source_weights(items: Sequence[Item]) -> list[float]:
    """Cumulative weights: sure kinds more, and a kind by the square root of its products, or cables would be most."""
    of_kind = Counter(item.kind[-1] for item in items)
    return np.cumsum([item.head_noun_score * of_kind[item.kind[-1]] ** -0.5 for item in items]).tolist()


def compose(item: Item, catalogue: Catalogue, rng: random.Random) -> Draft:
    """One query's words and what they mean."""
    dice = rng.random()
    style = "title" if dice < CLEAN_SHARE else "other" if dice < CLEAN_SHARE + OTHER_SHARE else "careless"
    kind = list(item.kind[-rng.choice((1, 2, 2, 3)) :])
    draft = Draft(item, kind, [*map(_word_key, kind[:-1]), f"h:{tokenize.stem(kind[-1])}"], [], style)
    if style == "other":
        draft = _otherwise(draft, catalogue, rng)
    if rng.random() < 0.5:
        _narrow(draft, rng)
    return draft if draft.literal else replace(draft, literal=draft.intent)


def _word_key(word: str) -> str:
    return f"t:{tokenize.stem(word)}"


def _otherwise(draft: Draft, catalogue: Catalogue, rng: random.Random) -> Draft:
    """Say a word of the kind in other words, or add one that the title lacks; where neither is known, be careless."""
    own = set(draft.words)
    swaps = [
        (at, other)
        for at, word in enumerate(draft.words)
        for other in catalogue.other_words.get(tokenize.stem(word), ())
        if other not in own
    ]
    if swaps and (not draft.item.extras or rng.random() < 0.6):
        at, other = rng.choice(swaps)
        key = draft.intent[at][:2] + tokenize.stem(other)
        literal = [*draft.intent[:at], key, *draft.intent[at + 1 :]]
        return replace(draft, words=[*draft.words[:at], other, *draft.words[at + 1 :]], literal=literal)
    more = [*draft.item.extras] * 2 + [*draft.item.values]
    if not more:
        return replace(draft, style="careless")
    extra = rng.choice(more)
    keys = [_word_key(word) for word in extra.split() if tokenize.stem(word)]
    return replace(draft, words=[*extra.split(), *draft.words[-2:]], intent=[*keys, *draft.intent[-2:]])


def _narrow(draft: Draft, rng: random.Random) -> None:
    """Add one or two of: brand, colour, series, size."""
    item = draft.item
    offers: list[tuple[list[str], str, bool]] = []
    if item.brand and len(item.brand) < 16:
        offers += [(item.brand.split(), f"b:{item.brand}", True)] * 4
    offers += [([colour], f"c:{colour}", True) for colour in item.colours if colour not in draft.words]
    offers += [([word], _word_key(word), True) for word in item.series[:1] if word not in draft.words] * 2
    offers += [([size_text(*size)], f"s:{size[0]}{size[1]}", False) for size in item.sizes if "." not in size[0]] * 2
    for words, key, first in rng.sample(offers, min(len(offers), rng.choice((1, 1, 1, 2)))):
        if key in draft.intent or len(draft.words) + len(words) > 4:
            continue
        draft.words = [*words, *draft.words] if first else [*draft.words, *words]
        draft.intent = [*draft.intent, key]
        draft.literal = [*draft.literal, key] if draft.literal else []


@dataclass(frozen=True)
class _Relevant:
    """Exact products of each draft, at most `MAX_EXACT`: two aligned arrays, and (drafts,) its twin or -1."""

    draft_R: Rows
    product_R: Rows
    twin_N: Rows


def _relevant(catalogue: Catalogue, drafts: Sequence[Draft], generator: np.random.Generator) -> _Relevant:
    """Products that hold all of a draft's intent, or all that its text says; found once for equal intents."""
    number: dict[tuple[str, ...], int] = {}
    wanted = [tuple(sorted(set(keys))) for draft in drafts for keys in (draft.intent, draft.literal)]
    index_N2 = np.array([number.setdefault(keys, len(number)) for keys in wanted]).reshape(-1, 2)
    holders = _holders(catalogue, list(number))
    source_N = np.array([draft.item.row for draft in drafts])
    drafts_R, products_R, twins = [], [], []
    for start in range(0, len(drafts), 2_000):
        stop = slice(start, start + 2_000)
        both = (holders[index_N2[stop, 0]] + holders[index_N2[stop, 1]]).tocoo()
        draft_R, product_R = _capped(both, source_N[stop], generator)
        twins.append(_twins(catalogue.holds_S_V, draft_R, product_R, source_N[stop]))
        drafts_R.append(draft_R + start)
        products_R.append(product_R)
    return _Relevant(np.concatenate(drafts_R), np.concatenate(products_R), np.concatenate(twins))


def _holders(catalogue: Catalogue, wanted: Sequence[tuple[str, ...]]) -> sp.csr_matrix:
    """(intents, products) 1 where the product holds every key."""
    known = [[catalogue.columns[key] for key in keys if key in catalogue.columns] for keys in wanted]
    # A key that no product holds makes the whole intent unheld.
    need_U = np.array([len(keys) for keys in wanted])
    by_key = catalogue.holds_S_V.T.tocsr()
    blocks = []
    for start in range(0, len(wanted), 1_000):
        lists = known[start : start + 1_000]
        indptr = np.cumsum([0, *map(len, lists)])
        columns = np.array([column for keys in lists for column in keys], np.int32)
        asked = sp.csr_matrix((np.ones(len(columns), np.int32), columns, indptr), (len(lists), by_key.shape[0]))
        counts = (asked @ by_key).tocsr()
        counts.data = (counts.data >= np.repeat(need_U[start : start + 1_000], np.diff(counts.indptr))).astype(np.int32)
        counts.eliminate_zeros()
        blocks.append(counts)
    return sp.vstack(blocks, format="csr")


def _capped(both: sp.coo_matrix, source_N: Rows, generator: np.random.Generator) -> tuple[Rows, Rows]:
    """At most `MAX_EXACT` products a draft, drawn at random, the source first."""
    draft_R, product_R = both.row.astype(np.int64), both.col.astype(np.int64)
    order_key = np.where(product_R == source_N[draft_R], -1.0, generator.random(len(draft_R)))
    order = np.lexsort((order_key, draft_R))
    draft_R, product_R = draft_R[order], product_R[order]
    kept = _place(draft_R) < MAX_EXACT
    return draft_R[kept], product_R[kept]


def _place(group_R: Rows) -> Rows:
    """Position of each entry inside its run of equal values; `group_R` ascends."""
    starts = np.flatnonzero(np.r_[True, group_R[1:] != group_R[:-1]]) if len(group_R) else np.zeros(0, np.int64)
    return np.arange(len(group_R)) - np.repeat(starts, np.diff(np.r_[starts, len(group_R)]))


def _twins(holds: sp.csr_matrix, draft_R: Rows, product_R: Rows, source_N: Rows) -> Rows:
    """The Exact product that shares most with each draft's source, of sixteen drawn at random; -1 where it is alone."""
    near = (_place(draft_R) < 17) & (product_R != source_N[draft_R])
    draft_R, product_R = draft_R[near], product_R[near]
    shared = np.asarray(holds[product_R].multiply(holds[source_N[draft_R]]).sum(axis=1)).ravel()
    order = np.lexsort((shared, draft_R))
    twin_N = np.full(len(source_N), -1, np.int64)
    twin_N[draft_R[order]] = product_R[order]  # the last of each draft wins: the most alike
    return twin_N


def _extended(
    shop: Shop,
    drafts: dict[str, Draft],
    drawn_N: npt.NDArray[np.int64],
    relevant: _Relevant,
    rows_S: Rows,
    generator: np.random.Generator,
) -> Shop:
    """The shop with the drafts as queries."""
    old, new = len(shop.queries), len(drafts)
    used = set(shop.queries["query_id"].to_pylist())
    ids = [name for i in range(new + len(used)) if (name := f"gen-{i:06d}") not in used][:new]
    rank_N = np.empty(new, np.int64)
    rank_N[np.lexsort((generator.random(new), -drawn_N))] = np.arange(1, new + 1)
    dev_N = generator.permutation(new) < round(new * DEV_SHARE)
    queries = pa.table(
        {
            "query_id": ids,
            "query": list(drafts),
            "frequency": np.round(1000.0 / rank_N**ZIPF, 3),
            "split": np.where(dev_N, "dev", "train").tolist(),
        },
        schema=QUERY_SCHEMA,
    )
    levels = np.full(len(relevant.draft_R), EXACT + 1, np.int8)
    at = (relevant.draft_R, rows_S[relevant.product_R])
    added = sp.csr_matrix((levels, at), shape=(new, len(shop.products)), dtype=np.int8)
    generated = {"generated": np.arange(old + new) >= old}
    slices = {name: np.concatenate([mask, np.zeros(new, np.bool_)]) for name, mask in shop.slices.items()}
    return replace(
        shop,
        queries=pa.concat_tables([shop.queries, queries]),
        qrels=sp.vstack([shop.qrels, added], format="csr"),
        qrels_complete=False,
        purchases=pa.concat_tables([shop.purchases, _purchases(shop, ids, drafts, relevant.twin_N, rows_S)]),
        slices=slices | generated,
    )


def _purchases(shop: Shop, ids: list[str], drafts: dict[str, Draft], twin_N: Rows, rows_S: Rows) -> pa.Table:
    """The source and its twin. What the title does not say was not found by searching: bought outside."""
    product_ids = shop.products["product_id"]
    source_N = np.array([draft.item.row for draft in drafts.values()])
    where = ["search" if draft.style == "title" else "outside" for draft in drafts.values()]
    has_twin = np.flatnonzero(twin_N >= 0)
    rows = np.concatenate([rows_S[source_N], rows_S[twin_N[has_twin]]])
    columns = {
        "query_id": ids + [ids[i] for i in has_twin.tolist()],
        "product_id": product_ids.take(rows),
        "source": where + ["search"] * len(has_twin),
    }
    return pa.table(columns, schema=PURCHASE_SCHEMA)
