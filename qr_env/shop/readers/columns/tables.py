"""The tables of a shop: the columns of products, queries, labels and purchases, and their names in people's files.

Names are in the form of `plain_name`, the best first. They are those of WooCommerce, Shopify, Magento, PrestaShop,
BigCommerce, Wix, Google Merchant, Amazon's metadata, Elasticsearch, Solr, Algolia, BEIR, MS MARCO, Quepid, Search
Console, Google Ads and GA4, and of WooCommerce and Search Console in other languages.

    print(accepted_names())
"""

from __future__ import annotations

import textwrap
from dataclasses import replace

from qr_env.shop.readers.columns.spec import TEXT_LIMIT, Column, Spec

_IDS = (
    *("handle", "url_handle", "handle_id", "parent_asin", "asin", "sku", "object_id", "item_id", "docid", "doc_id"),
    *("docno", "document_id", "corpus_id", "pid", "id_product", "product_code", "product_sku", "variant_sku"),
    *(
        "item_sku",
        "item_number",
        "product_code_sku",
        "artikelnummer",
        "ugs",
        "reference",
        "gtin",
        "ean",
        "event_attributes_object_object_id",
    ),
)
# An `id` beside another id is the product's in a list of products, and the row's own in a list of pairs.
_PRODUCT_ID = Column(
    "product_id",
    ("_id", "id", *_IDS),
    required=True,
    filled=True,
    limit=256,
    fills=(("id", "sku"), ("id", "artikelnummer"), ("id", "ugs"), ("product_id", "product_code_sku"), ("sku", "token")),
)
PAIR_PRODUCT_ID = Column("product_id", (*_IDS, "id"), required=True, filled=True, limit=256)
_QUERY_ID = Column("query_id", ("qid", "topic", "topic_id"), filled=True, limit=256)
QUERY_NAMES = (
    *("text", "query_text", "q", "user_query", "search_term", "search_terms", "search_query", "search_queries"),
    *(
        "search_keyword",
        "search_phrase",
        "search_string",
        "internal_search_term",
        "site_search_term",
        "top_queries",
        "queries",
        "keyword",
        "keywords",
        "term",
    ),
    *("search", "haufigste_suchanfragen", "suchanfrage", "suchanfragen", "suchbegriff", "suchbegriffe"),
    *("requetes_les_plus_frequentes", "requete", "requetes", "terme_de_recherche", "consultas_principales"),
    *("consulta", "consultas", "termino_de_busqueda", "query_principali", "consultas_principais"),
    *("populairste_zoekopdrachten", "zoekopdracht", "zoekterm", "principais_consultas", "上位のクエリ", "热门查询"),
    *("en_populer_sorgular", "nejcastejsi_dotazy", "vanligaste_sokfragorna", "najpopularniejsze_zapytania"),
    *("인기_검색어", "поисковый_запрос"),
)

ACTION_NAMES = ("action_name", "event", "event_name", "event_type", "action_type", "interaction")

PRODUCTS = Spec(
    "products",
    (
        _PRODUCT_ID,
        Column(
            "title",
            (
                *("name", "product_title", "product_name", "item_name", "item_title", "display_name", "titel"),
                *("nom", "nombre", "nome", "naam", "titre", "titulo", "titolo", "artikelname", "bezeichnung"),
            ),
            clean="markup",
            required=True,
            filled=True,
            empty="empty title",
            fills=(("title", "text"), ("title", "contents"), ("", "text"), ("", "contents"), ("", "passage")),
        ),
        Column(
            "description",
            (
                *("product_description", "desc", "body_html", "body", "long_description", "full_description"),
                *("item_description", "text", "contents", "content", "passage", "beschreibung", "descripcion"),
                *("descrizione", "beschrijving", "descricao", "short_description", "summary", "kurzbeschreibung"),
                *("descripcion_corta", "description_courte"),
            ),
            clean="markup",
            limit=TEXT_LIMIT,
            fills=(
                *(("description", "short_description"), ("description", "summary")),
                *(("beschreibung", "kurzbeschreibung"), ("descripcion", "descripcion_corta")),
                ("description", "description_courte"),
            ),
        ),
        Column(
            "brand",
            (
                *("product_brand", "brand_name", "brands", "manufacturer", "manufacturer_name", "vendor"),
                *("marke", "marken", "hersteller", "marque", "marques", "marca", "marcas", "merk", "supplier", "store"),
            ),
            clean="markup",
        ),
        Column(
            "category",
            (
                *("categories", "category_path", "category_hierarchy", "category_name", "product_class"),
                *("product_category", "product_type", "main_category", "google_product_category", "department"),
                *("kategorien", "kategorie", "categorias", "categoria", "categorie", "categorieen", "collection"),
                *("collections", "type"),
            ),
            clean="markup",
            fills=(("product_category", "type"), ("categories", "main_category")),
            unless=(
                *(("type", "regular_price"), ("type", "visibility_in_catalog"), ("product_type", "attribute_set_code")),
                ("type", "parent"),
            ),
        ),
        Column(
            "color",
            (
                *("colour", "product_color", "product_colour", "color_name", "colour_name", "farbe", "couleur"),
                *("kleur", "colore"),
            ),
            clean="markup",
        ),
        Column(
            "price",
            (
                *("regular_price", "variant_price", "list_price", "original_price", "base_price", "price_amount"),
                *("price_value", "price_tax_included", "price_tax_incl", "price_tax_excluded", "price_tax_excl"),
                *("standard_price", "retail_price", "current_price", "unit_price", "msrp", "regularer_preis"),
                *("precio_normal", "tarif_regulier", "prezzo_di_listino", "preis", "prix", "precio", "prezzo", "prijs"),
                *("sale_price", "special_price", "discounted_price", "angebotspreis", "precio_rebajado", "tarif_promo"),
            ),
            clean="markup",
            kind="price",
        ),
        Column(
            "attributes",
            (
                *("features", "product_features", "feature", "bullets", "bullet_points", "product_bullet_point"),
                *(
                    "specs",
                    "specifications",
                    "details",
                    "product_details",
                    "additional_attributes",
                    "product_highlight",
                ),
                *("highlights", "properties"),
            ),
            clean="markup",
            limit=TEXT_LIMIT,
            fills=(("features", "details"), ("feature", "details")),
        ),
    ),
    key="product_id",
    parents=("parent", "parent_sku", "parent_id", "parent_product_id", "superior", "ubergeordnet", "variant_id"),
    groups=("handle", "url_handle", "handle_id"),
    views=("store_view_code",),
    kinds=("item_type", "field_type", "item"),
)
QUERIES = Spec(
    "queries",
    (
        Column("query_id", ("qid", "_id", "id", "topic", "topic_id"), filled=True, limit=256),
        # In OpenSearch's index ubi_queries "query" is what the engine was sent, and "user_query" what was typed.
        Column(
            "query",
            (*QUERY_NAMES, "label", "key"),  # of Matomo, and of the buckets of Elasticsearch
            clean="entities",
            required=True,
            filled=True,
            empty="empty query",
            unless=(("query", "user_query"),),
        ),
        # Impressions are searches that showed the shop; clicks are taken only where nothing counts searches.
        Column(
            "frequency",
            (
                *("freq", "count", "query_count", "search_count", "searches", "total_searches", "search_volume"),
                *("volume", "avg_monthly_searches", "total_unique_searches", "num_searches", "number_of_searches"),
                *("no_of_searches", "doc_count", "count_of_records", "nb_visits"),
                *("anzahl", "suchvolumen", "haufigkeit"),
                *("impressions", "impr", "impressionen", "impresiones", "impressioni", "vertoningen", "impressoes"),
                *("goruntuleme", "zobrazeni", "visningar", "wyswietlenia", "表示回数", "展示次数", "노출수", "показы"),
                *("event_count", "ereignisanzahl", "sessions"),
                *("total_users", "active_users", "users", "clicks", "klicks", "clics", "clic", "klikken"),
            ),
            kind="frequency",
        ),
        Column("split", ("fold", "set", "subset"), kind="split"),
    ),
    totals="query",
)
# Labels and purchases refer to their query by id or, without ids, by its text.
QRELS = Spec(
    "qrels",
    (
        _QUERY_ID,
        Column("query", QUERY_NAMES, clean="entities"),
        PAIR_PRODUCT_ID,
        Column(
            "grade",
            (
                *("label", "relevance", "rel", "esci_label", "level", "rating", "judgment", "judgement", "gain"),
                *("relevance_label", "relevance_grade", "relevance_score", "score"),
            ),
            required=True,
        ),
    ),
)
PURCHASES = Spec(
    "purchases",
    (
        _QUERY_ID,
        Column("query", QUERY_NAMES, clean="entities"),
        replace(PAIR_PRODUCT_ID, filled=False),
        Column("source", ("where", "channel"), kind="source"),
        Column("action", ACTION_NAMES),
    ),
)


def accepted_names(width: int = 78) -> str:
    """The accepted column names of each table for a help text, in lines of at most `width` characters."""
    lines: list[str] = []
    tables: dict[tuple[str, ...], str] = {}  # names of a column → the table in which they were listed
    for spec in (PRODUCTS, QUERIES, QRELS, PURCHASES):
        lines.append(f"{spec.what}.*")
        for column in spec.columns:
            table = tables.setdefault(column.names, spec.what)
            names = ", ".join(column.aliases) if table == spec.what else f"as in {table}.*"
            text = f"{column.name}{' (required)' if column.required else ''}: {names}"
            lines += textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="      ")
    return "\n".join(lines)
