"""Exports of shop systems in their published columns: read without a flag, as folder and as file."""

from __future__ import annotations

import json
from pathlib import Path

from qr_env.shop.sources.files import read_folder
from tests.helpers.shops.files import notes, read, rows

WOO_HEADER = (
    'ID,Type,SKU,Name,Published,"Is featured?","Visibility in catalog","Short description",Description,'
    '"Date sale price starts","Tax status","In stock?","Weight (kg)","Sale price","Regular price",Categories,Tags,'
    'Images,Parent,"Attribute 1 name","Attribute 1 value(s)"\n'
)


SHOPIFY_HEADER = (
    "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,Variant SKU,"
    "Variant Grams,Variant Price,Variant Compare At Price,Image Src,Image Position,Gift Card,SEO Title,Status\n"
)


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
        ("12", "Tee - M", "Cotton, soft"),
        ("13", "Cap", "For heads"),
    ]
    assert rows(shop, "attributes") == [("Size: S, M",), ("Size: M",), ("",)]
    assert "variants and images of a product, left out: 1 (such as line 3)" in notes(shop)
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
    french = "ID,Type,UGS,Nom,Description courte,Description,Tarif promo,Tarif régulier,Catégories,Parent,Marques\n"
    shop = read(tmp_path, french + "1,simple,a,Lampe,court,,3,5,Lumière,,Acme\n,simple,b,Canapé,,long,,9,Salon,,\n")
    assert rows(shop, "product_id", "description", "price", "category", "brand") == [
        ("1", "court", 5.0, "Lumière", "Acme"),
        ("b", "long", 9.0, "Salon", ""),
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
    assert "variants and images of a product, left out: 2 (such as line 3)" in notes(shop)
    assert "product_id ← Handle, title ← Title, description ← Body (HTML), brand ← Vendor" in notes(shop)
    assert "price ← Variant Price" in notes(shop)
    assert rows(shop, "attributes") == [("Size: S | M",), ("",)]
    assert "attributes ← Option1 Value by name; not used: Tags" in notes(shop)
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
    assert "left out: 1 (such as line 3)" in notes(shop)


def test_wix_and_magento_and_prestashop(tmp_path: Path) -> None:
    wix = "handleId,fieldType,name,description,collection,sku,price\ntee,Product,Tee,A tee,Shirts,T,20\n"
    shop = read(tmp_path, wix + "tee,Variant,,,,T-S,\ntee,Variant,,,,T-L,\n")
    assert rows(shop, "product_id", "title", "category", "price") == [("tee", "Tee", "Shirts", 20.0)]
    magento = "sku,store_view_code,attribute_set_code,product_type,categories,name,description,price,special_price\n"
    shop = read(tmp_path, magento + "T,,Default,simple,Root/Shirts,Tee,Soft,20,15\n")
    assert rows(shop, "product_id", "title", "category", "price") == [("T", "Tee", "Root/Shirts", 20.0)]
    presta = "Product ID;Active (0/1);Name *;Categories (x,y,z...);Price tax excluded;Reference #;Manufacturer\n"
    shop = read(tmp_path, presta + "7;1;Tee;Shirts;20;T;Acme\n")
    assert rows(shop, "product_id", "title", "category", "brand") == [("7", "Tee", "Shirts", "Acme")]


def test_bigcommerce_and_its_skus(tmp_path: Path) -> None:
    header = "Item Type,Product ID,Product Name,Product Type,Product Code/SKU,Brand Name,Product Description,Price,"
    header += "Category\n"
    text = header + "Product,7,Tee,P,T,Acme,Soft,20,Shirts\n  SKU,8,[S]Size=M,,T-M,,,,\n  Rule,,,,T-M,,,3,\n"
    shop = read(tmp_path, text + "Product,,Mug,P,M,,,8,Mugs\n")
    assert rows(shop, "product_id", "title", "brand", "category", "price") == [
        ("7", "Tee", "Acme", "Shirts", 20.0),
        ("M", "Mug", "", "Mugs", 8.0),
    ]
    assert "left out: 2 (such as line 3)" in notes(shop)
    own = "id,title,item type\n1,Red sofa,Sofa\n2,A lamp,Lamp\n"
    assert len(read(tmp_path, own).products) == 2


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


def test_amazon_metadata(tmp_path: Path) -> None:
    row = {
        "main_category": "All Beauty",
        "title": "Hair Spray",
        "features": [],
        "description": ["Holds.", "Shines."],
        "price": None,
        "images": [{"thumb": "x"}],
        "store": "Acme",
        "categories": [],
        "details": {"Size": "3 oz"},
        "parent_asin": "B01",
    }
    shop = read(tmp_path, json.dumps(row), name="products.jsonl")
    assert rows(shop, "product_id", "title", "description", "brand", "category", "attributes") == [
        ("B01", "Hair Spray", "Holds. | Shines.", "Acme", "All Beauty", "Size: 3 oz")
    ]


def test_magento_has_a_row_for_each_view_of_the_shop(tmp_path: Path) -> None:
    shop = read(
        tmp_path,
        "sku,store_view_code,product_type,categories,name,description,price\n"
        "24-MB01,,simple,Gear,Joust Bag,The bag,34.000000\n"
        "24-MB01,de,,,Jousttasche,Die Tasche,\n"
        "24-MB01,fr,,,,,\n"
        "24-MB02,,simple,Gear,Fusion Pack,,59.000000\n",
        "query\nbag\n",
    )
    assert shop.titles == ["Joust Bag", "Fusion Pack"]
    assert "left out: 2" in notes(shop)


def test_square_has_items_without_an_sku(tmp_path: Path) -> None:
    products = "Token,Item Name,SKU,Category,Price\nAB,Red sofa,RS,Sofas,12.50\nAC,Lamp,,Lamps,5.00\n"
    shop = read(tmp_path, products, "query\nlamp\n")
    assert rows(shop, "product_id", "title") == [("RS", "Red sofa"), ("AC", "Lamp")]
