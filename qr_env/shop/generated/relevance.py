"""Relevance of every product to every query, from intents and product columns alone.

    qrels = relevance(vocabulary, stock, intents)   # CSR of level + 1; what is not stored is Irrelevant

- Exact: of the wanted type, and every constraint holds.
- Substitute: of the wanted type, with one constraint violated (with three constraints, at most two); or of a sibling
  type, with every constraint that applies to the sibling met.
- Complement: an accessory of the wanted type.
- Irrelevant: everything else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qr_env.common.types import COMPLEMENT, EXACT, SUBSTITUTE
from qr_env.shop.generated.intents import Intent
from qr_env.shop.generated.products import Stock
from qr_env.shop.generated.vocabulary import TypeWords, Vocabulary

Bools = npt.NDArray[np.bool_]


def relevance(vocabulary: Vocabulary, stock: Stock, intents: Sequence[Intent]) -> sp.csr_matrix:
    """Level + 1 of every pair that is not Irrelevant, (queries, products) int8."""
    columns = _columns(intents)
    number_of = {one.id: number for number, one in enumerate(vocabulary.types)}
    parts: list[tuple[npt.NDArray, npt.NDArray, npt.NDArray]] = []
    for number, one in enumerate(vocabulary.types):
        queries = np.flatnonzero(columns["type"] == number)
        wanted = {name: values[queries] for name, values in columns.items()}
        parts.append(
            _pairs(queries, stock.rows_of_type[number], _main_levels(stock, stock.rows_of_type[number], wanted))
        )
        extras = stock.accessories_of_type[number]
        parts.append(_pairs(queries, extras, np.full((len(queries), len(extras)), COMPLEMENT, np.int8)))
        for name in one.siblings:
            rows = stock.rows_of_type[number_of[name]]
            sibling = vocabulary.types[number_of[name]]
            parts.append(_pairs(queries, rows, _sibling_levels(stock, rows, sibling, one, wanted)))
    query_rows, rows, levels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    shape = (len(intents), len(stock.type_C))
    qrels = sp.csr_matrix((levels + np.int8(1), (query_rows, rows)), shape=shape, dtype=np.int8)
    qrels.sort_indices()
    return qrels


def _columns(intents: Sequence[Intent]) -> dict[str, npt.NDArray]:
    names = ("type", "color", "material", "brand", "wants", "refuses", "size")
    return {name: np.array([getattr(one, name) for one in intents]) for name in names}


def _pairs(
    queries: npt.NDArray, rows: npt.NDArray, levels_PC: npt.NDArray[np.int8]
) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """The pairs above Irrelevant: query rows, product rows, levels."""
    q, p = levels_PC.nonzero()
    return queries[q].astype(np.int32), rows[p], levels_PC[q, p]


def _main_levels(stock: Stock, rows: npt.NDArray, wanted: dict[str, npt.NDArray]) -> npt.NDArray[np.int8]:
    """Levels of the wanted type's products, (queries, products)."""
    violated = [_violated(name, stock, rows, wanted) for name in _CONSTRAINTS]
    violated_PC = np.add.reduce([one.astype(np.int8) for one in violated])
    constraints_P = np.add.reduce([_constrained(name, wanted).astype(np.int8) for name in _CONSTRAINTS])
    allowed_P = np.where(constraints_P >= 3, 2, 1)
    levels = np.where(violated_PC == 0, EXACT, np.where(violated_PC <= allowed_P[:, None], SUBSTITUTE, 0))
    return levels.astype(np.int8)


def _sibling_levels(
    stock: Stock, rows: npt.NDArray, sibling: TypeWords, one: TypeWords, wanted: dict[str, npt.NDArray]
) -> npt.NDArray[np.int8]:
    """Substitute where a sibling's product violates no constraint that applies to it, (queries, products)."""
    applies = {"color": bool(sibling.colors), "material": bool(sibling.materials), "brand": True}
    applies["size"] = bool(sibling.size and one.size) and sibling.size.unit == one.size.unit  # type: ignore[union-attr]
    known = [stock.names.features.index(feature.merchant) for feature in sibling.features]
    excluded_PC = np.zeros((len(wanted["type"]), len(rows)), np.bool_)
    for name in _CONSTRAINTS:
        if applies.get(name, True):
            violated_PC = _violated(name, stock, rows, wanted)
            if name in ("wants", "refuses"):
                violated_PC &= np.isin(wanted[name], known)[:, None]
            excluded_PC |= violated_PC
    return np.where(excluded_PC, 0, SUBSTITUTE).astype(np.int8)


_CONSTRAINTS = ("color", "material", "brand", "size", "wants", "refuses")


def _constrained(name: str, wanted: dict[str, npt.NDArray]) -> Bools:
    values = wanted[name]
    constrained: Bools = ~np.isnan(values) if name == "size" else values >= 0
    return constrained


def _violated(name: str, stock: Stock, rows: npt.NDArray, wanted: dict[str, npt.NDArray]) -> Bools:
    """True where a product violates a query's constraint of one kind, (queries, products)."""
    constrained_P1, values_P = _constrained(name, wanted)[:, None], wanted[name]
    if name in ("wants", "refuses"):
        has_PC = stock.features_CF[rows][:, np.maximum(values_P, 0)].T
        return constrained_P1 & (has_PC == (name == "refuses"))
    differs: Bools = getattr(stock, f"{name}_C")[rows][None, :] != values_P[:, None]
    return constrained_P1 & differs
