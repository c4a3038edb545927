"""The tables of a shop: the columns of products, queries, labels and purchases, and their other names in files."""

from __future__ import annotations

from qr_env.shop.readers.columns import TEXT_LIMIT, Column, Spec

_PRODUCT_ID = Column(
    "product_id", ("id", "sku", "asin", "item_id", "docid", "doc_id"), required=True, filled=True, limit=256
)
_QUERY_ID = Column("query_id", ("qid", "topic", "topic_id"), filled=True, limit=256)
_QUERY_TEXT = Column("query", ("text", "query_text", "q", "search_term", "keyword", "keywords"), empty="empty query")

PRODUCTS = Spec(
    "products",
    (
        _PRODUCT_ID,
        Column("title", ("name", "product_title", "product_name"), required=True, filled=True, empty="empty title"),
        Column("description", ("product_description", "desc"), limit=TEXT_LIMIT),
        Column("brand", ("product_brand", "manufacturer", "vendor")),
        Column("category", ("category_hierarchy", "product_class", "product_type", "department", "type")),
        Column("color", ("colour", "product_color", "product_colour")),
        Column("price", ("list_price", "sale_price"), kind="price"),
        Column(
            "attributes", ("features", "product_features", "bullets", "product_bullet_point", "specs"), limit=TEXT_LIMIT
        ),
    ),
    key="product_id",
)
QUERIES = Spec(
    "queries",
    (
        Column("query_id", ("qid", "id"), filled=True, limit=256),
        Column(_QUERY_TEXT.name, _QUERY_TEXT.aliases, required=True, filled=True, empty="empty query"),
        Column("frequency", ("freq", "count", "searches", "volume"), kind="frequency"),
        Column("split", ("fold", "set"), kind="split"),
    ),
    key="query_id",
)
# Labels and purchases refer to their query by id or, without ids, by its text.
QRELS = Spec(
    "qrels",
    (
        _QUERY_ID,
        Column("query", _QUERY_TEXT.aliases, filled=True, empty="empty query"),
        _PRODUCT_ID,
        Column(
            "grade",
            ("label", "relevance", "rel", "esci_label", "level", "rating", "judgment", "judgement"),
            required=True,
            filled=True,
            kind="grade",
        ),
    ),
)
PURCHASES = Spec(
    "purchases",
    (
        _QUERY_ID,
        Column("query", _QUERY_TEXT.aliases, filled=True, empty="empty query"),
        _PRODUCT_ID,
        Column("source", ("where", "channel"), kind="source"),
    ),
)
