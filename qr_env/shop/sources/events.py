"""What shoppers did with a product: none, click, cart or purchase, in the words of UBI and of analytics tools.

events_of(pa.array(["Add to cart", "impression", "hover"])).to_pylist()      # [2, 0, None]: None is an unknown word
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

EVENTS = ("none", "click", "cart", "purchase")  # each includes the ones before it
PURCHASE = EVENTS.index("purchase")
# Words in lower case, with "_" for spaces and hyphens.
WORDS = {
    "none": ("", "impression", "view", "viewed", "view_item_list", "shown", "skip", "no_click", "0", "false", "no"),
    "click": (
        "clicked",
        "click_through",
        "item_click",
        "product_click",
        "select_item",
        "view_item",
        "1",
        "true",
        "yes",
    ),
    "cart": ("add_to_cart", "addtocart", "cart_add", "add_to_basket", "basket", "atc"),
    "purchase": ("purchased", "buy", "bought", "order", "ordered", "conversion", "transaction", "checkout"),
}
EVENT_OF = {word: EVENTS.index(name) for name, words in WORDS.items() for word in (name, *words)}


def events_of(words: pa.ChunkedArray) -> pa.ChunkedArray:
    """(N,) int8 index in `EVENTS` of N words, null for an unknown one."""
    plain = pc.replace_substring_regex(pc.utf8_lower(words), r"[\s\-]+", "_")
    at = pc.index_in(plain, pa.array(list(EVENT_OF)))
    return pc.take(pa.chunked_array([pa.array(list(EVENT_OF.values()), pa.int8())]), at)
