"""Small catalogues in several languages: kinds of goods in colours, of brands, as shops write their titles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import scipy.sparse as sp

from qr_env.shop.shop import PURCHASE_SCHEMA, QUERY_SCHEMA, Shop

BRANDS = ("Bosch", "Miele", "Philips", "Tefal", "Rowenta")
GOODS: dict[str, tuple[str, Sequence[str], Sequence[str]]] = {
    "de": ("{brand} {kind} {colour}",
           ("Waschmaschine", "Elektrische Zahnbürste", "Gartenstuhl aus Holz", "Hülle für Tablet", "Kühlschrank",
            "Damen Lederschuhe"),
           ("schwarz", "weiß", "rot", "grün")),
    "fr": ("{kind} {brand} {colour}",
           ("Machine à café", "Aspirateur sans fil", "Chaise de jardin", "Brosse à dents électrique", "Réfrigérateur",
            "Housse pour tablette"),
           ("noir", "blanc", "rouge", "vert")),
    "es": ("{kind} {brand} {colour}",
           ("Lavadora", "Lámpara de mesa", "Cepillo de dientes eléctrico", "Silla de jardín", "Zapatos para hombre",
            "Funda para tableta"),
           ("negro", "blanco", "rojo", "verde")),
    "ru": ("{kind} {brand} {colour}",
           ("Стиральная машина", "Пылесос", "Садовый стул", "Электрическая зубная щётка", "Холодильник",
            "Чехол для планшета"),
           ("чёрный", "белый", "красный", "зелёный")),
    "ar": ("{kind} {colour} {brand}",
           ("حذاء رياضي", "ساعة يد", "سماعة لاسلكية", "مكنسة كهربائية", "غسالة ملابس", "كرسي حديقة"),
           ("أسود", "أبيض", "أحمر", "أخضر")),
    "ja": ("{brand} {kind} {colour}",
           ("電気掃除機", "コードレス掃除機", "電動歯ブラシ", "冷蔵庫", "折りたたみ傘", "緑茶 500ml"),
           ("ブラック", "ホワイト", "レッド", "グリーン")),
    "zh": ("{brand} {kind} {colour}",
           ("电动牙刷", "吸尘器", "保温杯", "折叠椅", "电冰箱", "绿茶 500ml"),
           ("黑色", "白色", "红色", "绿色")),
    "ko": ("{brand} {kind} {colour}",
           ("무선 청소기", "전동칫솔", "접이식 의자", "냉장고", "머그컵", "노트북 가방"),
           ("블랙", "화이트", "레드", "그린")),
    "th": ("{kind} {brand} {colour}",
           ("เครื่องดูดฝุ่น", "แปรงสีฟันไฟฟ้า", "ตู้เย็น", "เก้าอี้สนาม", "หูฟังไร้สาย", "แก้วน้ำ"),
           ("สีดำ", "สีขาว", "สีแดง", "สีเขียว")),
    "he": ("{kind} {colour} {brand}",
           ("שואב אבק", "מכונת כביסה", "כיסא גינה", "מברשת שיניים", "מקרר", "נעלי ספורט"),
           ("שחור", "לבן", "אדום", "ירוק")),
    "el": ("{kind} {brand} {colour}",
           ("Ηλεκτρική σκούπα", "Πλυντήριο ρούχων", "Καρέκλα κήπου", "Οδοντόβουρτσα", "Ψυγείο", "Ακουστικά"),
           ("μαύρο", "λευκό", "κόκκινο", "πράσινο")),
    "hi": ("{brand} {kind} {colour}",
           ("वैक्यूम क्लीनर", "कपड़े धोने की मशीन", "बगीचे की कुर्सी", "टूथब्रश", "पानी की बोतल", "चमड़े के जूते"),
           ("काला", "सफेद", "लाल", "हरा")),
}  # fmt: skip


def titles(language: str) -> list[str]:
    """Every kind in every colour, of the brands in turn."""
    form, kinds, colours = GOODS[language]
    pairs = [(kind, colour) for kind in kinds for colour in colours]
    return [
        form.format(brand=BRANDS[at % len(BRANDS)], kind=kind, colour=colour) for at, (kind, colour) in enumerate(pairs)
    ]


def language_shop(language: str) -> Shop:
    """The catalogue as a shop with one query a kind."""
    names = titles(language)
    products = pa.table({"product_id": [f"p{n}" for n in range(len(names))], "title": names})
    kinds = GOODS[language][1]
    queries = pa.table({"query_id": [f"q{n}" for n in range(len(kinds))], "query": list(kinds)})
    splits = pa.array(["train", "dev", "test"] * 2)
    queries = queries.append_column("frequency", pa.array([1.0] * len(kinds))).append_column("split", splits)
    empty = sp.csr_matrix((len(kinds), len(names)), dtype="int8")
    return Shop(
        f"{language} shop",
        products,
        queries.cast(QUERY_SCHEMA),
        empty,
        PURCHASE_SCHEMA.empty_table(),
        language=language,
    )


def write_files(language: str, folder: Path) -> Path:
    """The catalogue as products.csv and queries.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{n},{title}" for n, title in enumerate(titles(language), 1)]
    (folder / "products.csv").write_text("\n".join(["product_id,title", *rows]) + "\n", encoding="utf-8")
    kinds = [f"{kind},{split}" for kind, split in zip(GOODS[language][1], ["train", "dev", "test"] * 2, strict=True)]
    (folder / "queries.csv").write_text("\n".join(["query,split", *kinds]) + "\n", encoding="utf-8")
    return folder
