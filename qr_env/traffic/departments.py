"""Which department of the shop a query belongs to, and which brand it asks for: what traffic turns to, and reports by.

departments(shop)            # (queries,) names, "" where nothing is known
naming(queries, "Lullabee")  # (N,) bool
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qr_env.common import tokenize
from qr_env.common.types import EXACT, Query
from qr_env.shop.shop import Shop

_LEVELS = (" > ", ">", "|", "/")  # what parts the levels of a category's path


def departments(shop: Shop) -> npt.NDArray[np.str_]:
    """Department of every query of the shop, (queries,): that of most products bought for it, else graded Exact.

    A product's department is its category's first level; in the generated shop, whose categories are types of
    products, that of its vocabulary. "" where the catalogue has no categories, or nothing was bought or graded.
    """
    names, codes_P = np.unique(_of_products(shop), return_inverse=True)
    one_P_C = sp.csr_matrix((np.ones(len(codes_P)), (np.arange(len(codes_P)), codes_P)))
    exact = sp.csr_matrix(shop.qrels == EXACT + 1, dtype=np.float64)
    votes_N_C = (1e6 * _bought(shop) + exact) @ one_P_C if len(codes_P) else sp.csr_matrix((len(shop.queries), 1))
    found_N = np.asarray(votes_N_C.argmax(axis=1)).ravel()
    known_N = np.asarray(votes_N_C.sum(axis=1)).ravel() > 0
    return np.where(known_N, names[found_N] if len(names) else "", "")


def naming(queries: Sequence[Query], name: str) -> npt.NDArray[np.bool_]:
    """Which queries hold every word of a name, (N,)."""
    wanted = set(tokenize.terms(name))
    return np.array([bool(wanted) and wanted <= set(tokenize.terms(query.text)) for query in queries], np.bool_)


def _of_products(shop: Shop) -> list[str]:
    """Department of every product."""
    known: dict[str, str] = {}
    if shop.name.startswith("generated"):
        from qr_env.shop.generated.vocabulary import load_vocabulary

        known = {one.category: one.department for one in load_vocabulary().types}
    categories = shop.products["category"].to_pylist()
    return [known.get(category) or _first_level(category) for category in categories]


def _first_level(category: str) -> str:
    for mark in _LEVELS:
        category = category.split(mark)[0]
    return category.strip()


def _bought(shop: Shop) -> sp.csr_matrix:
    """(queries, products) how often each was bought for each."""
    pairs = shop.purchase_rows()
    return sp.csr_matrix((np.ones(len(pairs[0])), pairs), shape=(len(shop.queries), len(shop.products)))
