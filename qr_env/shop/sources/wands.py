"""WANDS, Wayfair's home goods (MIT): 42,994 products, 480 queries, 233,448 grades Exact / Partial / Irrelevant.

    qr shop wands                    # downloads from upstream
    qr shop wands --data ~/WANDS/dataset

Chen et al., "WANDS: Dataset for Product Search Relevance Assessment", ECIR 2022. Exact is level Exact, Partial is
Substitute; there is no Complement, price, colour or frequency. Upstream has no splits: 80/10/10 by a hash of the text.
The files are tab-separated despite their names. Their checksums are not pinned: those of the first download are
recorded, and later ones must agree (`qr_env/common/download.py`).
"""

from __future__ import annotations

from qr_env.common.download import Remote
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import read_files, read_folder
from qr_env.shop.sources.public import has_our_format, locate

COMMIT = "37f00c95b2a2abca6396680976378dc899babb7c"
FILES = tuple(
    Remote(f"https://raw.githubusercontent.com/wayfair/WANDS/{COMMIT}/dataset/{name}", name)
    for name in ("product.csv", "query.csv", "label.csv")
)


def load(data: str | None, options: ReadOptions) -> Shop:
    """Read WANDS from a folder, or download it. Raises as `qr_env.shop.load.load_shop`."""
    folder = locate("wands", FILES, data)
    if has_our_format(folder):
        return read_folder(folder, options)
    products, queries, labels = (folder / remote.name for remote in FILES)
    return read_files(
        "wands", LoadReport(options), products=products, queries=queries, qrels=labels, known_language="en"
    )
