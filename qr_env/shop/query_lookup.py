"""Which queries of a shop the ids or texts of another file mean: logs, runs of other systems, graded pairs.

query_rows(shop, "query", pa.chunked_array([["RED  Sofa"]]))           # [0]: texts in any spelling
query_rows(shop, "query_id", pa.chunked_array([["q7", "q9"]]))         # [0, None]: ids of joined lines too
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from qr_env.common.text_keys import text_keys
from qr_env.shop.shop import Shop


def query_rows(shop: Shop, by: str, values: pa.ChunkedArray) -> pa.Array:
    """Row of the query of each of N values, (N,) int32, null where unknown. by: "query_id", or "query" for texts."""
    if by == "query":
        return pc.index_in(text_keys(values), text_keys(shop.queries["query"]))
    names = values.combine_chunks()
    if len(shop.joined_ids):
        joined = shop.joined_ids.combine_chunks()
        at = pc.index_in(names, joined["id"].combine_chunks())
        names = pc.if_else(pc.is_valid(at), joined["query_id"].combine_chunks().take(at), names)
    return pc.index_in(names, shop.queries["query_id"].combine_chunks())
