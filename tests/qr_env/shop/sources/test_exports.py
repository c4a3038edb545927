"""Exports of shop systems and search consoles in their published columns: read without a flag, as folder and file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qr_env.common.errors import BadRowError, DataError
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import read_folder

WOO_HEADER = (
    'ID,Type,SKU,Name,Published,"Is featured?","Visibility in catalog","Short description",Description,'
    '"Date sale price starts","Tax status","In stock?","Weight (kg)","Sale price","Regular price",Categories,Tags,'
    'Images,Parent,"Attribute 1 name","Attribute 1 value(s)"\n'
)
SHOPIFY_HEADER = (
    "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,Variant SKU,"
    "Variant Grams,Variant Price,Variant Compare At Price,Image Src,Image Position,Gift Card,SEO Title,Status\n"
)


def read(tmp_path: Path, products: str, queries: str = "query\nsofa\n", name: str = "products.csv") -> Shop:
    """The shop of a folder with these two files."""
    (tmp_path / name).write_text(products, encoding="utf-8")
    (tmp_path / "queries.csv").write_text(queries, encoding="utf-8")
    return read_folder(tmp_path)


def rows(shop: Shop, *names: str) -> list[tuple[Any, ...]]:
    """These columns of the products, by row."""
    return list(zip(*(shop.products[name].to_pylist() for name in names), strict=True))


def notes(shop: Shop) -> str:
    assert shop.report is not None
    assert not shop.report.bad_rows
    return "\n".join(shop.report.notes)


def test_woocommerce_categories_and_the_regular_price(tmp_path: Path) -> None:
    shop = read(
        tmp_path,
        'ID,Type,SKU,Name,"Sale price","Regular price",Categories\n'
        "44,variable,vneck,V-Neck Tee,,20,Clothing > Tshirts\n"
        "48,simple,beanie,Red Beanie,18,20,Clothing > Accessories\n"
        "58,simple,belt,Leather Belt,,65,Clothing > Accessories\n",
        "query\naccessories\nvariable\n",
    )
    assert rows(shop, "product_id", "title", "category", "price")[:2] == [
        ("44", "V-Neck Tee", "Clothing > Tshirts", 20.0),
        ("48", "Red Beanie", "Clothing > Accessories", 20.0),
    ]
    assert "not used: Type, Sale price" in notes(shop)


def test_woocommerce_variations_belong_to_their_parent(tmp_path: Path) -> None:
    shop = read(
        tmp_path,
        WOO_HEADER
        + '10,variable,tee,Tee,1,0,visible,Soft,"Cotton, soft",,taxable,1,.2,,,Shirts,new,,,Size,"S, M"\n'
        + "11,variation,tee-s,,1,0,visible,,,,taxable,1,.2,,12,,,,id:10,Size,S\n"
        + "12,variation,tee-m,Tee - M,1,0,visible,,,,taxable,1,.2,,13,,,,id:10,Size,M\n"
        + "13,simple,cap,Cap,1,0,visible,For heads,,,taxable,1,.1,,9,Caps,,,,,\n",
    )
    assert rows(shop, "product_id", "title", "description") == [
        ("10", "Tee", "Cotton, soft"),
        ("12", "Tee - M", ""),
        ("13", "Cap", "For heads"),
    ]
    assert "1 row is a variant or an image of a product above and left out (such as line 3)" in notes(shop)
    assert "empty cells filled: 1 of description from Short description" in notes(shop)
    assert "product_id ← ID, else SKU, title ← Name, description ← Description, else Short" in notes(shop)


def test_woocommerce_without_ids_or_categories(tmp_path: Path) -> None:
    shop = read(
        tmp_path,
        "ID,Type,SKU,Name,Regular price\n,simple,a-1,Lamp,5\n7,simple,,Sofa,9\n",
    )
    assert rows(shop, "product_id", "title", "category") == [("a-1", "Lamp", ""), ("7", "Sofa", "")]
    assert "1 of product_id from SKU" in notes(shop)


def test_woocommerce_in_other_languages(tmp_path: Path) -> None:
    german = "ID,Typ,Artikelnummer,Name,Kurzbeschreibung,Beschreibung,Angebotspreis,Regulärer Preis,Kategorien\n"
    shop = read(tmp_path, german + "1,simple,a,Lampe,kurz,,3,5,Licht\n")
    assert rows(shop, "product_id", "title", "description", "price", "category") == [
        ("1", "Lampe", "kurz", 5.0, "Licht")
    ]
    spanish = "ID,Tipo,SKU,Nombre,Superior,Categorías,Marca,Precio normal,Precio rebajado\n"
    shop = read(tmp_path, spanish + "1,variable,,Camisa,,Ropa,Zara,20,15\n2,variation,,,id:1,,,20,15\n")
    assert rows(shop, "product_id", "title", "brand", "price", "category") == [("1", "Camisa", "Zara", 20.0, "Ropa")]


def test_shopify_further_rows_of_a_product_are_no_dirty_rows(tmp_path: Path) -> None:
    text = (
        SHOPIFY_HEADER
        + "tee,Classic Tee,Soft,Acme,Apparel > Shirts,Shirt,new,true,Size,S,T-S,100,19.00,,a.jpg,1,false,,active\n"
        + "tee,,,,,,,,,M,T-M,100,20.00,,,,,,\n"
        + "tee,,,,,,,,,,,,,,b.jpg,2,,,\n"
        + "mug,Mug,,Acme,,Mugs,,true,Title,Default Title,M-1,300,8.00,,c.jpg,1,false,,active\n"
    )
    shop = read(tmp_path, text)
    assert rows(shop, "product_id", "title", "brand", "category", "price") == [
        ("tee", "Classic Tee", "Acme", "Apparel > Shirts", 19.0),
        ("mug", "Mug", "Acme", "Mugs", 8.0),
    ]
    assert "2 rows are variants or images of a product above and left out (such as line 3)" in notes(shop)
    assert "product_id ← Handle, title ← Title, description ← Body (HTML), brand ← Vendor" in notes(shop)
    assert "price ← Variant Price" in notes(shop)
    assert rows(read_folder(tmp_path / "products.csv"), "product_id") == [("tee",), ("mug",)]


def test_shopify_with_its_newer_column_names(tmp_path: Path) -> None:
    shop = read(
        tmp_path,
        "Title,URL handle,Description,Vendor,Product category,Type,Tags,Status,SKU,Option1 name,Option1 value,Price,"
        "Compare-at price,Product image URL,Color (product.metafields.shopify.color-pattern)\n"
        "Tee,tee,Soft,Acme,Shirts,,,Active,T-S,Size,S,19.00,25.00,a.jpg,red; blue\n"
        "Tee,tee,Soft,Acme,Shirts,,,Active,T-M,Size,M,19.00,25.00,a.jpg,\n",
    )
    assert rows(shop, "product_id", "title", "color", "price") == [("tee", "Tee", "red; blue", 19.0)]
    assert "1 row is a variant" in notes(shop)


def test_an_untitled_product_of_shopify_is_still_a_dirty_row(tmp_path: Path) -> None:
    with pytest.raises(BadRowError, match=r"products\.csv:2: empty title"):
        read(tmp_path, "Handle,Title,Variant Price\ntee,,19\ntee,,20\nmug,Mug,8\n")


def test_wix_and_magento_and_prestashop(tmp_path: Path) -> None:
    wix = "handleId,fieldType,name,description,collection,sku,price\ntee,Product,Tee,A tee,Shirts,T,20\n"
    shop = read(tmp_path, wix + "tee,Variant,,,,T-S,\ntee,Variant,,,,T-L,\n")
    assert rows(shop, "product_id", "title", "category", "price") == [("tee", "Tee", "Shirts", 20.0)]
    magento = "sku,store_view_code,attribute_set_code,product_type,categories,name,description,price,special_price\n"
    shop = read(tmp_path, magento + "T,,Default,simple,Root/Shirts,Tee,Soft,20,15\n")
    assert rows(shop, "product_id", "title", "category", "price") == [("T", "Tee", "Root/Shirts", 20.0)]
    presta = "Product ID;Active (0/1);Name *;Categories;Price tax excluded;Reference #;Manufacturer\n"
    shop = read(tmp_path, presta + "7;1;Tee;Shirts;20;T;Acme\n")
    assert rows(shop, "product_id", "title", "category", "brand") == [("7", "Tee", "Shirts", "Acme")]


def test_a_google_merchant_feed(tmp_path: Path) -> None:
    header = "id\ttitle\tdescription\tlink\timage_link\tavailability\tprice\tsale_price\tbrand\tgtin\tmpn\t"
    header += "google_product_category\tproduct_type\tcolor\titem_group_id\n"
    row = "S1\tRed Sofa\tSoft\thttps://x/1\thttps://x/1.jpg\tin_stock\t15.00\t12.00\tAcme\t0123\tM1\t2271\t"
    (tmp_path / "products.tsv").write_text(header + row + "Home > Sofas\tred\tG1\n")
    (tmp_path / "queries.csv").write_text("query\nsofa\n")
    shop = read_folder(tmp_path)
    assert rows(shop, "product_id", "title", "brand", "category", "color", "price") == [
        ("S1", "Red Sofa", "Acme", "Home > Sofas", "red", 15.0)
    ]
    prefixed = (header + row + "Home\tred\t\n").replace("id\ttitle", "g:id\tg:title").replace("\tprice", "\tg:price")
    (tmp_path / "products.tsv").write_text(prefixed)
    assert rows(read_folder(tmp_path), "product_id", "title", "price") == [("S1", "Red Sofa", 15.0)]


@pytest.mark.parametrize(
    ("header", "frequency"),
    [
        ("Top queries,Clicks,Impressions,CTR,Position", 100),
        ("Query,Clicks,Impressions,CTR,Position", 100),
        ("Häufigste Suchanfragen,Klicks,Impressionen,Klickrate,Durchschnittliche Position", 100),
        ("Requêtes les plus fréquentes,Clics,Impressions,CTR,Position moyenne", 100),
        ("Consultas principales,Clics,Impresiones,CTR,Posición media", 100),
        ("Query principali,Clic,Impressioni,CTR,Posizione media", 100),
        ("Populairste zoekopdrachten,Klikken,Vertoningen,CTR,Positie", 100),
        ("上位のクエリ,クリック数,表示回数,CTR,掲載順位", 100),
        ("Search term,Total users,Event count,Sessions,Engagement rate", 100),
        ("Search term,Campaign,Impr.,Clicks,Avg. CPC", 100),
        ("Keyword,Trend,Avg. monthly searches,Competition,Bid", 100),
        ("Top queries,Clicks,CTR,Position,Device", 10),
    ],
)
def test_search_consoles_count_searches(tmp_path: Path, header: str, frequency: float) -> None:
    shop = read(tmp_path, "product_id,title\n1,sofa\n", f"{header}\nred sofa,10,100,2,3.5\n")
    assert [(query.text, query.frequency) for query in shop.all_queries] == [("red sofa", frequency)]


def test_a_typing_error_in_a_column_name_is_pointed_out(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="'tilte' is like 'title': rename it; accepted names are title, name, product_t"
    ):
        read(tmp_path, "product_id,tilte\n1,sofa\n")
    assert "not used: desciption (is it 'description'? Then rename it)" in notes(
        read(tmp_path, "product_id,title,desciption\n1,sofa,soft\n")
    )


def test_a_file_without_a_header_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the first line looks like data"):
        read(tmp_path, "1,sofa\n2,lamp\n")


def test_an_empty_query_text_beside_an_id_costs_no_label(tmp_path: Path) -> None:
    (tmp_path / "qrels.csv").write_text("query_id,query,product_id,grade\na,,1,3\n")
    shop = read(tmp_path, "product_id,title\n1,sofa\n", "query_id,query\na,couch\n")
    assert shop.qrels.nnz == 1
