"""The department of each query, and the queries that name a brand: used by drift events, sessions and reports.

departments(shop)                     # (queries,) names, "" where unknown
queries_naming(queries, "Lullabee", shop.tokenizer)   # (N,) bool
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qr_env.common.types import EXACT, Query
from qr_env.language.tokenize import Tokenizer
from qr_env.shop.generated.vocabulary import load_vocabulary
from qr_env.shop.shop import Shop

_SEPARATORS = (" > ", ">", "|", "/")  # separators of the levels of a category path


def departments(shop: Shop) -> npt.NDArray[np.str_]:
    """Department of every query of the shop, (queries,): that of most products bought for it, else graded Exact.

    A product's department is the first level of its category; in the generated shop, whose categories are product
    types, the vocabulary's department. "" where the catalogue has no categories, or nothing was bought or graded.
    """
    names, codes_C = np.unique(_product_departments(shop), return_inverse=True)
    onehot_CF = sp.csr_matrix((np.ones(len(codes_C)), (np.arange(len(codes_C)), codes_C)))
    exact = sp.csr_matrix(shop.qrels == EXACT + 1, dtype=np.float64)
    votes_PF = (
        (1e6 * _purchase_counts(shop) + exact) @ onehot_CF if len(codes_C) else sp.csr_matrix((len(shop.queries), 1))
    )
    found_P = np.asarray(votes_PF.argmax(axis=1)).ravel()
    known_P = np.asarray(votes_PF.sum(axis=1)).ravel() > 0
    return np.where(known_P, names[found_P] if len(names) else "", "")


def queries_naming(queries: Sequence[Query], name: str, tokenizer: Tokenizer) -> npt.NDArray[np.bool_]:
    """True where a query contains every word of the name, (N,)."""
    terms = set(tokenizer.terms(name))
    return np.array([bool(terms) and terms <= set(tokenizer.terms(query.text)) for query in queries], np.bool_)


def _product_departments(shop: Shop) -> list[str]:
    """Department of every product."""
    department_of: dict[str, str] = {}
    if shop.name.startswith("generated"):
        department_of = {one.category: one.department for one in load_vocabulary().types}
    categories = shop.products["category"].to_pylist()
    return [department_of.get(category) or _first_level(category) for category in categories]


def _first_level(category: str) -> str:
    for separator in _SEPARATORS:
        category = category.split(separator)[0]
    return category.strip()


def _purchase_counts(shop: Shop) -> sp.csr_matrix:
    """(queries, products) number of purchases of each pair."""
    pairs = shop.purchase_rows()
    return sp.csr_matrix((np.ones(len(pairs[0])), pairs), shape=(len(shop.queries), len(shop.products)))
