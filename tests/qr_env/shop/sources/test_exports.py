"""Exports of shop systems and search consoles in their published columns: read without a flag, as folder and file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qr_env.common.errors import BadRowError, DataError
from qr_env.shop.readers.columns.spec import Spec, plain_name
from qr_env.shop.readers.columns.tables import PRODUCTS, PURCHASES, QRELS, QUERIES
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


def test_squarespace_leaves_id_and_title_of_variants_empty(tmp_path: Path) -> None:
    header = "Product ID [Non Editable],Variant ID [Non Editable],Title,Description,SKU,Price,Categories\n"
    shop = read(tmp_path, header + "a,b,Tee,Soft,T,20,Shirts\n,c,,,T-M,21,\nd,e,Mug,Hot,M,8,Mugs\n")
    assert rows(shop, "product_id", "title", "price") == [("a", "Tee", 20.0), ("d", "Mug", 8.0)]
    assert "left out: 1 (such as line 3)" in notes(shop)


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
        ("En popüler sorgular,Tıklama,Görüntüleme,CTR,Ortalama konum", 100),
        ("Nejčastější dotazy,Kliknutí,Zobrazení,CTR,Průměrná pozice", 100),
        ("Vanligaste sökfrågorna,Klick,Visningar,Klickfrekvens,Genomsnittlig position", 100),
        ("Najpopularniejsze zapytania,Kliknięcia,Wyświetlenia,CTR,Pozycja", 100),
        ("인기 검색어,클릭수,노출수,클릭률,평균 게재순위", 100),
        ("热门查询,点击次数,展示次数,点击率,平均排名", 100),
        ("Поисковый запрос,Клики,Показы,CTR,Позиция", 100),
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


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


DOCUMENTS = [
    {"_index": "shop", "_id": "7", "_score": 1, "_source": {"name": "red sofa", "categories": ["Home", "Sofas"]}},
    {"_index": "shop", "_id": "8", "_score": 1, "_source": {"name": "lamp", "price": {"amount": 5, "currency": "EUR"}}},
]
BULK = [part for row in DOCUMENTS for part in ({"index": {"_index": "shop", "_id": row["_id"]}}, row["_source"])]
RESPONSE = {"took": 1, "hits": {"total": {"value": 2}, "hits": DOCUMENTS}, "aggregations": {"b": {"buckets": [{}]}}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("products.jsonl", "\n".join(map(json.dumps, DOCUMENTS))),
        ("products.ndjson", "\n".join(map(json.dumps, BULK))),
        ("products.json", json.dumps(RESPONSE)),
        ("products.json", json.dumps(RESPONSE, indent=2)),
        ("products.json", json.dumps(DOCUMENTS)),
    ],
)
def test_a_dump_of_elasticsearch(tmp_path: Path, name: str, text: str) -> None:
    shop = read(tmp_path, text, name=name)
    assert rows(shop, "product_id", "title", "category")[0] == ("7", "red sofa", "Home | Sofas")
    assert rows(shop, "product_id", "title", "price")[1] == ("8", "lamp", 5.0)
    assert f"{name}: product_id ← _id, title ← name, category ← categories, price" in notes(shop)
    assert rows(read_folder(tmp_path / name), "product_id") == [("7",), ("8",)]


def test_names_inside_objects(tmp_path: Path) -> None:
    row = {
        "id": 1,
        "name": {"en": "Red sofa", "de": "Rotes Sofa"},
        "brand": {"id": 3, "name": "Acme"},
        "categories": [{"id": 9, "name": "Home", "slug": "home"}, {"id": 10, "name": "Sofas", "slug": "sofas"}],
        "attributes": [{"name": "Size", "value": "L"}],
    }
    shop = read(tmp_path, json.dumps(row), name="products.jsonl")
    assert rows(shop, "title", "brand", "category", "attributes") == [("Red sofa", "Acme", "Home | Sofas", "Size: L")]


def test_one_document_of_elasticsearch_with_a_list_of_variants(tmp_path: Path) -> None:
    document = {"_id": "7", "_source": {"title": "sofa", "variants": [{"sku": "a"}, {"sku": "b"}]}}
    assert rows(read(tmp_path, json.dumps(document), name="products.json"), "product_id", "title") == [("7", "sofa")]


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


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    write_json(
        tmp_path / "corpus.jsonl",
        [
            {"_id": "d1", "title": "Sofa", "text": "red and soft", "metadata": {}},
            {"_id": "d2", "title": "", "text": "a lamp without a title", "metadata": {}},
        ],
    )
    texts = {"q1": "couch", "q2": "lamp", "q3": "light", "q4": "desk"}
    write_json(tmp_path / "queries.jsonl", [{"_id": name, "text": text} for name, text in texts.items()])
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\tE\nq2\td2\tE\n")
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq3\td2\tE\nq2\td2\tS\nq2\td1\tI\n")
    return tmp_path


def test_beir_has_a_file_of_labels_for_each_split(beir: Path) -> None:
    shop = read_folder(beir)
    assert rows(shop, "product_id", "title", "description") == [
        ("d1", "Sofa", "red and soft"),
        ("d2", "a lamp without a title", "a lamp without a title"),
    ]
    assert [(query.id, query.split) for query in shop.all_queries] == [
        ("q1", "train"),
        ("q2", "test"),
        ("q3", "test"),
        ("q4", "train"),
    ]
    assert shop.qrels.toarray().tolist() == [[4, 0], [1, 4], [0, 4], [0, 0]]
    assert "80/10/10" not in notes(shop)
    assert "train 2, dev 0, test 2, the 1 without labels being train" in notes(shop)


def test_a_folder_of_qrels_without_a_split_is_refused(beir: Path) -> None:
    for path in (beir / "qrels").iterdir():
        path.rename(path.with_name(f"x-{path.name}"))
    with pytest.raises(DataError, match=r"has train.tsv, dev.tsv or test.tsv, this has x-test.tsv, x-train.tsv"):
        read_folder(beir)


def test_ms_marco_passages_without_titles(tmp_path: Path) -> None:
    shop = read(tmp_path, json.dumps({"id": 3, "contents": "word " * 100}), name="products.jsonl")
    ((product_id, title, description),) = rows(shop, "product_id", "title", "description")
    assert (product_id, len(title), len(description)) == ("3", 199, 499)


def test_ms_marco_files_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "products.tsv").write_text("0\tThe presence of minds\n1\tA project\n7067032\tAndy was there\n")
    (tmp_path / "queries.tsv").write_text("300674\thow many years did he live\n9\twhat is a project\n")
    (tmp_path / "qrels.tsv").write_text("300674\t0\t7067032\t3\n9\t0\t1\t2\n")
    shop = read_folder(tmp_path)
    assert rows(shop, "product_id", "title")[2] == ("7067032", "Andy was there")
    assert [(query.id, query.text) for query in shop.all_queries][1] == ("9", "what is a project")
    assert shop.qrels.toarray().tolist() == [[0, 0, 4], [0, 3, 0]]
    assert "queries.tsv: no header; its two columns are taken as id and text" in notes(shop)
    (tmp_path / "queries.tsv").write_text("300674\thow many years did he live\n300674\twhat is a project\n")
    with pytest.raises(DataError, match="the first line looks like data"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("products", "queries"),
    [
        ("wc-product-export-27-11-2026-1764250000000.csv", "Queries.csv"),
        ("products_export_1.csv", "Suchanfragen.csv"),
        ("catalog_products.csv", "query.csv"),
    ],
)
def test_files_keep_the_names_of_their_exports(tmp_path: Path, products: str, queries: str) -> None:
    (tmp_path / products).write_text("id,title\n1,sofa\n")
    (tmp_path / queries).write_text("query\nsofa\n")
    assert len(read_folder(tmp_path).products) == 1
    (tmp_path / "products.csv").write_text("id,title\n1,sofa\n2,lamp\n")
    assert len(read_folder(tmp_path).products) == 2  # the table's own name wins


def test_two_files_of_one_export_are_named(tmp_path: Path) -> None:
    for name in ("products_export_1.csv", "products_export_2.csv"):
        (tmp_path / name).write_text("id,title\n1,sofa\n")
    with pytest.raises(DataError, match=r"products_export_1.csv and products_export_2.csv both hold the products"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Body (HTML)", "body_html"),
        ("productId", "product_id"),
        ("product-id", "product_id"),
        ("g:sale_price", "sale_price"),
        ("_source.title", "title"),
        ("_id", "_id"),
        ("Regulärer Preis", "regularer_preis"),
        (" SKU ", "sku"),
        ("表示回数", "表示回数"),
        ("", ""),
    ],
)
def test_plain_names(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_rows_of_totals_are_no_queries(tmp_path: Path) -> None:
    head = "# ------\n# Search terms\n# Start date: 20260101\n# ------\n"
    ga4 = head + "Search term,Total users,Event count\n,678,12345,Grand total\nred sofa,55,60\nlamp,50,51\n"
    shop = read(tmp_path, "id,title\n1,sofa\n", ga4)
    assert [(query.text, query.frequency) for query in shop.all_queries] == [("red sofa", 60), ("lamp", 51)]
    assert "rows of totals, left out: 1 (such as line 6)" in notes(shop)
    ads = "Search term,Campaign,Impr.,Clicks\nred sofa,A,60,5\nTotal: Search terms, --,60,5\nTotal: Account, --,99,9\n"
    shop = read(tmp_path, "id,title\n1,sofa\n", ads)
    assert [(query.text, query.frequency) for query in shop.all_queries] == [("red sofa", 60)]
    assert "rows of totals, left out: 2 (such as line 3)" in notes(shop)
    shop = read(tmp_path, "id,title\n1,sofa\n", "query,count\ntotal gym,2\ngrand total war,3\n")
    assert len(shop.queries) == 2


def test_trec_lines_in_a_tsv_and_a_header_of_four_columns(tmp_path: Path) -> None:
    queries = "query_id,query\n7,couch\n8,lamp\n"
    (tmp_path / "qrels.tsv").write_text("7\t0\t1\t3\n8\t0\t1\t2\n")
    assert read(tmp_path, "product_id,title\n1,sofa\n", queries).qrels.toarray().tolist() == [[4], [3]]
    (tmp_path / "qrels.tsv").write_text("query-id\titeration\tcorpus-id\tscore\n7\t0\t1\t2\n8\t0\t1\t3\n")
    assert read(tmp_path, "product_id,title\n1,sofa\n", queries).qrels.toarray().tolist() == [[3], [4]]


def test_several_properties_of_a_product(tmp_path: Path) -> None:
    header = "Handle,Title,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Variant Price\n"
    text = header + "tee,Tee,Size,S,Color,Red,19\ntee,,,S,,Blue,19\ntee,,,M,,Blue,\nmug,Mug,Title,Default Title,,,8\n"
    assert rows(read(tmp_path, text), "attributes") == [("Size: S | Color: Red | Blue | M",), ("",)]
    assert rows(read(tmp_path, text.replace("Option2", "Other2")), "attributes") == [("Size: S | M",), ("",)]
    own = "ID,Name,attributes,Attribute 1 name,Attribute 1 value(s)\n1,Tee,soft,Size,S\n"
    assert rows(read(tmp_path, own), "attributes") == [("soft",)]


@pytest.mark.parametrize("spec", [PRODUCTS, QUERIES, QRELS, PURCHASES])
def test_aliases_are_plain_names_and_occur_once(spec: Spec) -> None:
    for column in spec.columns:
        assert [plain_name(name) for name in column.names] == list(column.names)
        assert len(set(column.names)) == len(column.names)
