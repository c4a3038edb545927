"""Synthetic queries from a catalogue, for a shop without purchases or queries to learn from.

    shop = with_catalogue_queries(load_shop("my_folder"), n=8_000, seed=0)   # what `qr online my_folder` calls

Each query starts from one product and the words that name it. About a third (style "title") use words of the title;
a third ("other") use synonyms from the catalogue's other fields ("laptop bag" for a notebook case, see
`vocabulary.py`); a third ("noisy") have typos, joined and split words, other units or plurals. No human label is
used: a product is Exact for a query if it has all the intended words, before they were replaced or misspelt; every
other product is ungraded.
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

from qr_env.common.errors import ConfigError
from qr_env.common.text_keys import text_key
from qr_env.common.types import EXACT
from qr_env.shop.shop import PURCHASE_SCHEMA, QUERY_SCHEMA, Shop
from qr_env.synthetic.grammar import grammar
from qr_env.synthetic.likeness import QueryProfiler
from qr_env.synthetic.typos import noisy_text, size_text
from qr_env.synthetic.vocabulary import Catalogue, Item, learn

# Larger catalogues are sampled: vocabulary, queries and relevance are computed within the sample.
MAX_PRODUCTS = 30_000
MAX_EXACT = 500
PER_PRODUCT = 20  # more queries per product would differ in typos only
TITLE_SHARE = 0.36
OTHER_SHARE = 0.34
DEV_SHARE = 0.1
CHOSEN_FROM = 4  # drafts for each query that is kept, where they are chosen by their likeness to real ones
ZIPF = 0.8
GENERATED = "generated"  # slice of the queries made here

log = logging.getLogger("qr_env.synthetic.queries")
Rows = npt.NDArray[np.int64]


@dataclass(slots=True)
class Draft:
    """A query before noise is added."""

    item: Item
    """The product that it was composed from."""
    words: list[str]
    """Its words, without noise, the head noun last (`Grammar.spoken` says them)."""
    intent: list[str]
    """Keys of `Catalogue.columns` that a relevant product has."""
    literal: list[str]
    """Keys of the words as written, where a synonym was used; else the intent."""
    style: str
    """"title", "other" or "noisy"."""


def with_catalogue_queries(shop: Shop, n: int, seed: int, like: Sequence[str] = ()) -> Shop:
    """The shop with up to n additional queries composed from its products: 90 % train, 10 % dev, never test.

    The shop's own queries come first, with unchanged splits, grades and purchases. Each new text differs from all
    others (`qr_env.common.text_keys`). Frequencies follow Zipf's law, with ranks by how often a text was drawn. For
    each query its source product and the most similar Exact product are purchased; at most 500 products with the
    intended words are graded Exact (see the module). `slices["generated"]` marks the new queries. A catalogue too small
    for n different texts gives fewer, with a warning: at most 20 per product. `qrels_complete` becomes False, since an
    ungraded product is not known to be irrelevant.

    Args:
        shop: its products are read, and its queries are kept.
        n: number of queries.
        seed: of every draw.
        like: real queries of the shop. Of `CHOSEN_FROM` times as many drafts n are kept, so that their lengths, unknown
            words and full matches are distributed as those of the real ones (`qr_env.synthetic.likeness`).

    Raises:
        ConfigError: n is below 1, or no title has a word to compose a query from.
    """
    if n < 1:
        raise ConfigError(f"n={n} catalogue queries: must be 1 or more")
    if len(shop.products) == 0:
        raise ConfigError(f"{shop!r} has no products to compose queries from")
    generator = np.random.default_rng(seed)
    sampled_rows = np.arange(len(shop.products))
    if len(sampled_rows) > MAX_PRODUCTS:
        sampled_rows = np.sort(generator.choice(sampled_rows, MAX_PRODUCTS, replace=False))
    catalogue = learn(shop.products.take(sampled_rows), grammar(shop.language))
    known_texts = {text_key(text) for text in shop.queries["query"].to_pylist()}
    count = min(n * CHOSEN_FROM if like else n, PER_PRODUCT * len(catalogue.items))
    drafts, drawn_N = _draw_drafts(catalogue, count, random.Random(seed), known_texts)
    if like and len(drafts) > n:
        kept = QueryProfiler(shop).alike(list(drafts), like, n, generator)
        texts, drawn_N = list(drafts), drawn_N[kept]
        drafts = {texts[place]: drafts[texts[place]] for place in kept.tolist()}
    if len(drafts) < n:
        log.warning("%s: too small for %s queries, %s were made", shop.name, f"{n:,}", f"{len(drafts):,}")
    relevant = _relevant(catalogue, list(drafts.values()), generator)
    return _extended(shop, drafts, drawn_N, relevant, sampled_rows, generator)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _draw_drafts(
    catalogue: Catalogue, n: int, rng: random.Random, known_texts: set[str]
) -> tuple[dict[str, Draft], npt.NDArray[np.int64]]:
    """Text → draft of up to n different texts, and the draws of each; stops when under 1 % of the draws are new.

    `known_texts` are `text_key`s; texts are the same where their keys are.
    """
    weights = _source_weights(catalogue.items)
    drafts: dict[str, Draft] = {}
    text_of: dict[str, str] = {}  # `text_key` → the text first drawn with it
    drawn: Counter[str] = Counter()
    while len(drafts) < n:
        before = len(drafts)
        draws = max(n, 200)
        for item in rng.choices(catalogue.items, cum_weights=weights, k=draws):
            draft = compose(item, catalogue, rng)
            words, language = catalogue.grammar.spoken(draft.words), catalogue.grammar.tokenizer.language
            text = noisy_text(words, rng, catalogue.words, language) if draft.style == "noisy" else " ".join(words)
            if len(text) > 1 and (key := text_key(text)) not in known_texts:
                text = text_of.setdefault(key, _folded(text))
                drawn[text] += 1
                drafts.setdefault(text, draft)
        if len(drafts) - before < draws / 100:
            break
    if not drafts:
        raise ConfigError("every query that these titles give is one of the shop's own: there is nothing to add")
    kept = dict(list(drafts.items())[:n])
    return kept, np.array([drawn[text] for text in kept])


def _source_weights(items: Sequence[Item]) -> list[float]:
    """Cumulative weights: by head noun score, and a kind by the square root of its products, so that none dominates."""
    of_kind = Counter(item.kind[-1] for item in items)
    return np.cumsum([item.head_noun_score * of_kind[item.kind[-1]] ** -0.5 for item in items]).tolist()


def compose(item: Item, catalogue: Catalogue, rng: random.Random) -> Draft:
    """Draw one query from a product."""
    draw = rng.random()
    style = "title" if draw < TITLE_SHARE else "other" if draw < TITLE_SHARE + OTHER_SHARE else "noisy"
    kind = list(item.kind[-rng.choice((1, 2, 2, 3)) :])
    head = f"h:{catalogue.grammar.tokenizer.stem(kind[-1])}"
    draft = Draft(item, kind, [*(_word_key(word, catalogue) for word in kind[:-1]), head], [], style)
    if style == "other":
        draft = _with_synonym(draft, catalogue, rng)
    if rng.random() < 0.5:
        _add_constraints(draft, catalogue, rng)
    return draft if draft.literal else replace(draft, literal=draft.intent)


def _word_key(word: str, catalogue: Catalogue) -> str:
    return f"t:{catalogue.grammar.tokenizer.stem(word)}"


def _with_synonym(draft: Draft, catalogue: Catalogue, rng: random.Random) -> Draft:
    """Replace a word of the kind by a synonym, or add a word that the title lacks; "noisy" if neither is known."""
    stem = catalogue.grammar.tokenizer.stem
    own = set(draft.words)
    swaps = [
        (at, other)
        for at, word in enumerate(draft.words)
        for other in catalogue.synonyms.get(stem(word), ())
        if other not in own
    ]
    if swaps and (not draft.item.extras or rng.random() < 0.6):
        at, other = rng.choice(swaps)
        key = draft.intent[at][:2] + stem(other)
        literal = [*draft.intent[:at], key, *draft.intent[at + 1 :]]
        return replace(draft, words=[*draft.words[:at], other, *draft.words[at + 1 :]], literal=literal)
    more = [*draft.item.extras] * 2 + [*draft.item.values]
    if not more:
        return replace(draft, style="noisy")
    extra = rng.choice(more)
    words = catalogue.grammar.spoken(extra.split())
    keys = [_word_key(word, catalogue) for word in words if stem(word)]
    return replace(draft, words=[*words, *draft.words[-2:]], intent=[*keys, *draft.intent[-2:]])


def _add_constraints(draft: Draft, catalogue: Catalogue, rng: random.Random) -> None:
    """Add one or two constraints out of brand, colour, series and size to the draft."""
    item, spoken = draft.item, catalogue.grammar.spoken
    first_size, language = catalogue.grammar.head_first, catalogue.grammar.tokenizer.language
    offers: list[tuple[list[str], str, bool]] = []
    if item.brand and len(item.brand) < 16:
        offers += [(spoken(item.brand.split()), f"b:{item.brand}", True)] * 4
    offers += [([colour], f"c:{colour}", True) for colour in item.colours if colour not in draft.words]
    offers += [([word], _word_key(word, catalogue), True) for word in item.series[:1] if word not in draft.words] * 2
    offers += [
        ([size_text(*size, language)], f"s:{size[0]}{size[1]}", first_size) for size in item.sizes if "." not in size[0]
    ] * 2
    for words, key, first in rng.sample(offers, min(len(offers), rng.choice((1, 1, 1, 2)))):
        if key in draft.intent or len(draft.words) + len(words) > 4:
            continue
        draft.words = [*words, *draft.words] if first else [*draft.words, *words]
        draft.intent = [*draft.intent, key]
        draft.literal = [*draft.literal, key] if draft.literal else []


@dataclass(frozen=True)
class _Relevant:
    """Exact products of the drafts, at most `MAX_EXACT` each."""

    draft_M: Rows
    """(M,) draft of each Exact pair."""
    product_M: Rows
    """(M,) product of each Exact pair."""
    similar_N: Rows
    """(drafts,) the Exact product most similar to the draft's source; -1 if there is none."""


def _relevant(catalogue: Catalogue, drafts: Sequence[Draft], generator: np.random.Generator) -> _Relevant:
    """Products with all keys of a draft's intent, or all of its literal keys; computed once for equal key sets."""
    number: dict[tuple[str, ...], int] = {}
    wanted = [tuple(sorted(set(keys))) for draft in drafts for keys in (draft.intent, draft.literal)]
    index_N2 = np.array([number.setdefault(keys, len(number)) for keys in wanted]).reshape(-1, 2)
    matches = _products_with_keys(catalogue, list(number))
    source_N = np.array([draft.item.row for draft in drafts])
    drafts_M, products_M, similar = [], [], []
    for start in range(0, len(drafts), 2_000):
        stop = slice(start, start + 2_000)
        both = (matches[index_N2[stop, 0]] + matches[index_N2[stop, 1]]).tocoo()
        draft_M, product_M = _capped(both, source_N[stop], generator)
        similar.append(_most_similar(catalogue.keys_of_product, draft_M, product_M, source_N[stop]))
        drafts_M.append(draft_M + start)
        products_M.append(product_M)
    return _Relevant(np.concatenate(drafts_M), np.concatenate(products_M), np.concatenate(similar))


def _products_with_keys(catalogue: Catalogue, wanted: Sequence[tuple[str, ...]]) -> sp.csr_matrix:
    """(key sets, products) int32, 1 where the product has every key."""
    known = [[catalogue.columns[key] for key in keys if key in catalogue.columns] for keys in wanted]
    # A key that no product has leaves the key set without products.
    n_keys_U = np.array([len(keys) for keys in wanted])
    by_key = catalogue.keys_of_product.T.tocsr()
    blocks = []
    for start in range(0, len(wanted), 1_000):
        lists = known[start : start + 1_000]
        indptr = np.cumsum([0, *map(len, lists)])
        columns = np.array([column for keys in lists for column in keys], np.int32)
        asked = sp.csr_matrix((np.ones(len(columns), np.int32), columns, indptr), (len(lists), by_key.shape[0]))
        counts = (asked @ by_key).tocsr()
        counts.data = (counts.data >= np.repeat(n_keys_U[start : start + 1_000], np.diff(counts.indptr))).astype(
            np.int32
        )
        counts.eliminate_zeros()
        blocks.append(counts)
    return sp.vstack(blocks, format="csr")


def _capped(both: sp.coo_matrix, source_N: Rows, generator: np.random.Generator) -> tuple[Rows, Rows]:
    """At most `MAX_EXACT` random products per draft, the source first."""
    draft_M, product_M = both.row.astype(np.int64), both.col.astype(np.int64)
    order_key = np.where(product_M == source_N[draft_M], -1.0, generator.random(len(draft_M)))
    order = np.lexsort((order_key, draft_M))
    draft_M, product_M = draft_M[order], product_M[order]
    kept = _position_in_run(draft_M) < MAX_EXACT
    return draft_M[kept], product_M[kept]


def _position_in_run(group_M: Rows) -> Rows:
    """Position of each entry within its run of equal values; `group_M` is sorted."""
    starts = np.flatnonzero(np.r_[True, group_M[1:] != group_M[:-1]]) if len(group_M) else np.zeros(0, np.int64)
    return np.arange(len(group_M)) - np.repeat(starts, np.diff(np.r_[starts, len(group_M)]))


def _most_similar(keys_of_product: sp.csr_matrix, draft_M: Rows, product_M: Rows, source_N: Rows) -> Rows:
    """The Exact product with most keys in common with each draft's source, of 16 random ones; -1 if there is none."""
    near = (_position_in_run(draft_M) < 17) & (product_M != source_N[draft_M])
    draft_M, product_M = draft_M[near], product_M[near]
    shared = np.asarray(keys_of_product[product_M].multiply(keys_of_product[source_N[draft_M]]).sum(axis=1)).ravel()
    order = np.lexsort((shared, draft_M))
    similar_N = np.full(len(source_N), -1, np.int64)
    similar_N[draft_M[order]] = product_M[order]  # the last of each draft is kept: the most similar
    return similar_N


def _extended(
    shop: Shop,
    drafts: dict[str, Draft],
    drawn_N: npt.NDArray[np.int64],
    relevant: _Relevant,
    sampled_rows: Rows,
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
    levels = np.full(len(relevant.draft_M), EXACT + 1, np.int8)
    at = (relevant.draft_M, sampled_rows[relevant.product_M])
    added = sp.csr_matrix((levels, at), shape=(new, len(shop.products)), dtype=np.int8)
    generated = {GENERATED: np.arange(old + new) >= old}
    slices = {name: np.concatenate([mask, np.zeros(new, np.bool_)]) for name, mask in shop.slices.items()}
    return replace(
        shop,
        queries=pa.concat_tables([shop.queries, queries]),
        qrels=sp.vstack([shop.qrels, added], format="csr"),
        qrels_complete=False,
        purchases=pa.concat_tables([shop.purchases, _purchases(shop, ids, drafts, relevant.similar_N, sampled_rows)]),
        slices=slices | generated,
    )


def _purchases(shop: Shop, ids: list[str], drafts: dict[str, Draft], similar_N: Rows, sampled_rows: Rows) -> pa.Table:
    """Purchases of the source and the similar product; outside search where the query has words not in the title."""
    product_ids = shop.products["product_id"]
    source_N = np.array([draft.item.row for draft in drafts.values()])
    where = ["search" if draft.style == "title" else "outside" for draft in drafts.values()]
    has_similar = np.flatnonzero(similar_N >= 0)
    rows = np.concatenate([sampled_rows[source_N], sampled_rows[similar_N[has_similar]]])
    columns = {
        "query_id": ids + [ids[i] for i in has_similar.tolist()],
        "product_id": product_ids.take(rows),
        "source": where + ["search"] * len(has_similar),
    }
    return pa.table(columns, schema=PURCHASE_SCHEMA)
