"""Relevance of every query to every product, from the needs and the columns of the stock alone.

    qrels = relevance(vocabulary, stock, intents)   # CSR of level + 1; what is not stored is Irrelevant

- Exact: the type that is wanted, and every constraint holds.
- Substitute: the type that is wanted, and one constraint is broken (with three constraints, at most two); or a
  sibling of it that meets every constraint that can be asked of a sibling.
- Complement: an accessory of the type that is wanted.
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
            _pairs(queries, stock.rows_of_type[number], _own_levels(stock, stock.rows_of_type[number], wanted))
        )
        extras = stock.accessories_of_type[number]
        parts.append(_pairs(queries, extras, np.full((len(queries), len(extras)), COMPLEMENT, np.int8)))
        for name in one.siblings:
            rows = stock.rows_of_type[number_of[name]]
            sibling = vocabulary.types[number_of[name]]
            parts.append(_pairs(queries, rows, _sibling_levels(stock, rows, sibling, one, wanted)))
    query_rows, rows, levels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    shape = (len(intents), len(stock.type_N))
    qrels = sp.csr_matrix((levels + np.int8(1), (query_rows, rows)), shape=shape, dtype=np.int8)
    qrels.sort_indices()
    return qrels


def _columns(intents: Sequence[Intent]) -> dict[str, npt.NDArray]:
    names = ("type", "color", "material", "brand", "wants", "refuses", "size")
    return {name: np.array([getattr(one, name) for one in intents]) for name in names}


def _pairs(
    queries: npt.NDArray, rows: npt.NDArray, levels_QP: npt.NDArray[np.int8]
) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """The pairs above Irrelevant: query rows, product rows, levels."""
    q, p = levels_QP.nonzero()
    return queries[q].astype(np.int32), rows[p], levels_QP[q, p]


def _own_levels(stock: Stock, rows: npt.NDArray, wanted: dict[str, npt.NDArray]) -> npt.NDArray[np.int8]:
    """Levels of the wanted type's own products, (queries, products)."""
    broken = [_broken(name, stock, rows, wanted) for name in _RESPECTS]
    broken_QP = np.add.reduce([one.astype(np.int8) for one in broken])
    asked_Q = np.add.reduce([_asked(name, wanted).astype(np.int8) for name in _RESPECTS])
    allowed_Q = np.where(asked_Q >= 3, 2, 1)
    levels = np.where(broken_QP == 0, EXACT, np.where(broken_QP <= allowed_Q[:, None], SUBSTITUTE, 0))
    return levels.astype(np.int8)


def _sibling_levels(
    stock: Stock, rows: npt.NDArray, sibling: TypeWords, one: TypeWords, wanted: dict[str, npt.NDArray]
) -> npt.NDArray[np.int8]:
    """Substitute where a sibling's product breaks nothing that can be asked of it."""
    can = {"color": bool(sibling.colors), "material": bool(sibling.materials), "brand": True}
    can["size"] = bool(sibling.size and one.size) and sibling.size.unit == one.size.unit  # type: ignore[union-attr]
    known = [stock.names.features.index(feature.merchant) for feature in sibling.features]
    bad_QP = np.zeros((len(wanted["type"]), len(rows)), np.bool_)
    for name in _RESPECTS:
        if can.get(name, True):
            broken_QP = _broken(name, stock, rows, wanted)
            if name in ("wants", "refuses"):
                broken_QP &= np.isin(wanted[name], known)[:, None]
            bad_QP |= broken_QP
    return np.where(bad_QP, 0, SUBSTITUTE).astype(np.int8)


_RESPECTS = ("color", "material", "brand", "size", "wants", "refuses")


def _asked(name: str, wanted: dict[str, npt.NDArray]) -> Bools:
    values = wanted[name]
    asked: Bools = ~np.isnan(values) if name == "size" else values >= 0
    return asked


def _broken(name: str, stock: Stock, rows: npt.NDArray, wanted: dict[str, npt.NDArray]) -> Bools:
    """Which products break what each query asks in one respect, (queries, products)."""
    asked_Q1, values_Q = _asked(name, wanted)[:, None], wanted[name]
    if name in ("wants", "refuses"):
        has_QP = stock.features_NF[rows][:, np.maximum(values_Q, 0)].T
        return asked_Q1 & (has_QP == (name == "refuses"))
    differs: Bools = getattr(stock, f"{name}_N")[rows][None, :] != values_Q[:, None]
    return asked_Q1 & differs
