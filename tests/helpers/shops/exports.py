"""Exports of one made-up catalogue in the published columns of four systems, each with Search Console's queries.

python -m tests.helpers.shops.exports out/exports      # then: qr shop out/exports/shopify
"""

from __future__ import annotations

import csv
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

KINDS = ("Sofa", "Lamp", "Desk", "Rug", "Chair", "Shelf")
COLORS = ("Red", "Green", "Blue", "Black")
BRANDS = ("Acme", "Nordhus", "Villa & Co")
SYSTEMS = ("woocommerce", "shopify", "google-merchant", "elasticsearch")
Record = dict[str, object]

WOOCOMMERCE = (
    "ID,Type,SKU,Name,Published,Is featured?,Visibility in catalog,Short description,Description,"
    "Date sale price starts,Date sale price ends,Tax status,Tax class,In stock?,Stock,Low stock amount,"
    "Backorders allowed?,Sold individually?,Weight (kg),Length (cm),Width (cm),Height (cm),Allow customer reviews?,"
    "Purchase note,Sale price,Regular price,Categories,Tags,Shipping class,Images,Download limit,Download expiry days,"
    "Parent,Grouped products,Upsells,Cross-sells,External URL,Button text,Position,Attribute 1 name,"
    "Attribute 1 value(s),Attribute 1 visible,Attribute 1 global"
)
SHOPIFY = (
    "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,Option2 Name,"
    "Option2 Value,Option3 Name,Option3 Value,Variant SKU,Variant Grams,Variant Inventory Tracker,"
    "Variant Inventory Policy,Variant Fulfillment Service,Variant Price,Variant Compare At Price,"
    "Variant Requires Shipping,Variant Taxable,Variant Barcode,Image Src,Image Position,Image Alt Text,Gift Card,"
    "SEO Title,SEO Description,Google Shopping / Google Product Category,Google Shopping / Gender,"
    "Google Shopping / Age Group,Google Shopping / MPN,Google Shopping / Condition,Variant Image,Variant Weight Unit,"
    "Variant Tax Code,Cost per item,Status"
)
MERCHANT = (
    "id,title,description,link,image_link,additional_image_link,availability,price,sale_price,brand,gtin,mpn,"
    "google_product_category,product_type,condition,color,size,item_group_id,shipping"
)
SEARCH_CONSOLE = "Top queries,Clicks,Impressions,CTR,Position"


@dataclass(frozen=True)
class Item:
    """A product of the made-up catalogue."""

    number: int
    """Its place, from 0."""
    kind: str
    """What it is."""
    color: str
    """Its color."""
    brand: str
    """Its brand."""
    price: float
    """Its price."""

    @property
    def title(self) -> str:
        """Its title."""
        return f"{self.color} {self.kind} {self.number}"

    @property
    def html(self) -> str:
        """Its description, as shop systems keep it."""
        brand = self.brand.replace("&", "&amp;")
        return f"<p>A {self.color.lower()} {self.kind.lower()} by {brand}.</p>\n<p>Soft &amp; sturdy</p>"


def write_exports(folder: Path, products: int = 300) -> None:
    """Write a folder for each of `SYSTEMS`: the products as it exports them, and queries.csv."""
    rng = random.Random(0)
    items = [
        Item(n, rng.choice(KINDS), rng.choice(COLORS), rng.choice(BRANDS), rng.randint(5, 900) + 0.99)
        for n in range(products)
    ]
    searches: list[Record] = [
        {"Top queries": f"{color} {kind}".lower(), "Clicks": rng.randint(0, 50), "Impressions": f"{n:,}", "CTR": "3.1%"}
        for kind in KINDS
        for color in COLORS
        for n in [rng.randint(100, 9000)]
    ]
    for system in SYSTEMS:
        (folder / system).mkdir(parents=True, exist_ok=True)
        _write_table(folder / system / "queries.csv", SEARCH_CONSOLE, searches)
    _write_table(folder / "woocommerce/products.csv", WOOCOMMERCE, [row for item in items for row in woocommerce(item)])
    _write_table(folder / "shopify/products.csv", SHOPIFY, [row for item in items for row in shopify(item)])
    _write_table(folder / "google-merchant/products.tsv", MERCHANT, [merchant(item) for item in items], "\t")
    lines = "".join(json.dumps(elasticsearch(item)) + "\n" for item in items)
    (folder / "elasticsearch/products.jsonl").write_text(lines, encoding="utf-8")


def woocommerce(item: Item) -> list[Record]:
    """A simple product; every third is a variable one without a price, with two variations, named or not."""
    number, is_variable = item.number, item.number % 3 == 0
    product: Record = {
        "ID": 10 * number + 1,
        "Type": "variable" if is_variable else "simple",
        "SKU": f"S{number}",
        "Name": item.title,
        "Published": 1,
        "Visibility in catalog": "visible",
        "Short description": item.html,
        "Description": item.html if number % 2 else "",
        "Sale price": "4.50" if number % 5 == 0 else "",
        "Regular price": "" if is_variable else item.price,
        "Categories": f"Home > {item.kind}s, Sale",
        "Attribute 1 name": "Size",
        "Attribute 1 value(s)": "S, M",
    }
    variations: list[Record] = [
        {
            "ID": 10 * number + place,
            "Type": "variation",
            "SKU": f"S{number}-{size}",
            "Name": "" if number % 2 else f"{item.title} - {size}",
            "Published": 1,
            "Regular price": item.price,
            "Parent": f"id:{10 * number + 1}" if place == 2 else f"S{number}",
            "Attribute 1 value(s)": size,
        }
        for place, size in enumerate("SM", start=2)
    ]
    return [product, *(variations if is_variable else [])]


def shopify(item: Item) -> list[Record]:
    """The product's row, and up to two rows of further variants and images, which have its handle alone."""
    handle = item.title.lower().replace(" ", "-")
    product: Record = {
        "Handle": handle,
        "Title": item.title,
        "Body (HTML)": item.html,
        "Vendor": item.brand,
        "Product Category": "" if item.number % 4 else "Home & Garden > Decor",
        "Type": item.kind,
        "Tags": "new, home",
        "Published": "true",
        "Option1 Name": "Size",
        "Option1 Value": "S",
        "Variant SKU": f"S{item.number}",
        "Variant Price": f"{item.price:.2f}",
        "Image Src": "https://shop.example/1.jpg",
        "Image Position": 1,
        "Status": "active",
    }
    further: list[Record] = [
        {
            "Handle": handle,
            "Option1 Value": size,
            "Variant Price": item.price,
            "Image Src": "https://shop.example/2.jpg",
        }
        for size in "ML"[: item.number % 3]
    ]
    return [product, *further]


def merchant(item: Item) -> Record:
    """A line of a Google Merchant feed."""
    return {
        "id": f"S{item.number}",
        "title": item.title,
        "description": f'A {item.kind.lower()} of 15" by {item.brand}',
        "link": "https://shop.example/p",
        "availability": "in_stock",
        "price": f"{item.price:.2f} USD",
        "sale_price": "3.50 USD" if item.number % 7 == 0 else "",
        "brand": item.brand,
        "gtin": 4_000_000_000_000 + item.number,
        "google_product_category": 436,
        "product_type": f"Home > {item.kind}s",
        "condition": "new",
        "color": item.color,
        "item_group_id": f"G{item.number // 3}",
    }


def elasticsearch(item: Item) -> Record:
    """A line of elasticdump."""
    source = {
        "name": item.title,
        "description": item.html,
        "brand": {"id": 3, "name": item.brand},
        "categories": ["Home", item.kind],
        "price": {"amount": item.price, "currency": "EUR"},
        "color": item.color,
        "created_at": "2026-01-01T00:00:00Z",
        "variants": [{"sku": "a"}],
    }
    return {"_index": "shop", "_id": f"S{item.number}", "_score": 1, "_source": source}


def _write_table(path: Path, header: str, rows: list[Record], delimiter: str = ",") -> None:
    """A delimited file; a TSV as feeds have it, without quotes."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        if delimiter == "\t":
            lines = [header.split(","), *([str(row.get(name, "")) for name in header.split(",")] for row in rows)]
            handle.write("".join("\t".join(cells) + "\n" for cells in lines))
            return
        writer = csv.DictWriter(handle, header.split(","))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    write_exports(Path(sys.argv[1]))
