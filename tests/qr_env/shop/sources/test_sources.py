"""Icecat, ESCI and WANDS from tiny files in upstream's format; the real Icecat where its folder is there."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qr_env.common import download
from qr_env.common.download import LOCK, Remote
from qr_env.common.errors import DataError, DownloadError
from qr_env.shop.load import load_shop
from qr_env.shop.shop import split_of
from qr_env.shop.sources import esci, icecat, public, wands

SHARED = Path(os.environ.get("QR_DATA") or Path(__file__).parents[5] / "shared" / "data")


@pytest.fixture(autouse=True)
def _no_data_folder(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QR_DATA", raising=False)


def write_wands(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "product.csv").write_text(
        "product_id\tproduct_name\tproduct_class\tcategory_hierarchy\tproduct_description\tproduct_features\trating_count\n"
        '0\tsolid wood bed\tBeds\tFurniture / Beds\t"good, ""deep"" sleep"\toverallwidth:64.7|colour:oak\t15.0\n'
        "1\tall-clad slow cooker\tSlow Cookers\tKitchen\t\tcapacity:7\t\n"
    )
    (folder / "query.csv").write_text('query_id\tquery\tquery_class\n0\tbed frame\tBeds\n3\t"fawkes 36"" vanity"\t\n')
    (folder / "label.csv").write_text(
        "id\tquery_id\tproduct_id\tlabel\n0\t0\t0\tExact\n1\t0\t1\tIrrelevant\n2\t3\t0\tPartial\n"
    )


def test_wands(tmp_path: Path) -> None:
    write_wands(tmp_path / "wands")
    shop = load_shop("wands", data=str(tmp_path))
    assert shop.name == "wands"
    first = shop.product(0)
    assert (first.id, first.title, first.category) == ("0", "solid wood bed", "Furniture / Beds")
    assert (first.description, first.attributes) == ('good, "deep" sleep', "overallwidth:64.7|colour:oak")
    assert [(query.id, query.text, query.split) for query in shop.all_queries] == [
        ("0", "bed frame", split_of("bed frame")),
        ("3", 'fawkes 36" vanity', split_of('fawkes 36" vanity')),
    ]
    assert shop.qrels.toarray().tolist() == [[4, 1], [3, 0]]


def write_esci(folder: Path) -> None:
    folder.mkdir(parents=True)
    names = ["example_id", "query", "query_id", "product_id", "product_locale", "esci_label", "large_version", "split"]
    rows: list[tuple[Any, ...]] = [
        (0, "couch", 11, "B1", "us", "E", 1, "train"),
        (1, "couch", 11, "B2", "us", "S", 1, "train"),
        (2, "sofá", 12, "B1", "es", "E", 1, "train"),
        (3, "lamp", 13, "B2", "us", "C", 1, "train"),
        (4, "lamp", 13, "B1", "us", "I", 1, "train"),
        (5, "desk", 14, "B2", "us", "I", 1, "test"),
        (6, "desk", 14, "B3", "us", "E", 1, "test"),
        (7, "small only", 15, "B1", "us", "E", 0, "test"),
    ]
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])
    pq.write_table(table, folder / esci.EXAMPLES.name)
    pq.write_table(
        pa.table(
            {
                "product_id": ["B1", "B1", "B2", "B3"],
                "product_title": ["Grey Sofa", "Sofá gris", "Brass Lamp", None],
                "product_description": ["<p>soft</p>", None, None, None],
                "product_bullet_point": [None, None, "tall\nbright", None],
                "product_brand": ["Lind", "Lind", None, None],
                "product_color": ["grey", "gris", None, None],
                "product_locale": ["us", "es", "us", "us"],
            }
        ),
        folder / esci.PRODUCTS.name,
    )


def test_esci(tmp_path: Path) -> None:
    write_esci(tmp_path / "data")
    shop = load_shop("esci", data=str(tmp_path / "data"))
    assert shop.products.select(["product_id", "title", "brand", "attributes"]).to_pylist() == [
        {"product_id": "B1", "title": "Grey Sofa", "brand": "Lind", "attributes": ""},
        {"product_id": "B2", "title": "Brass Lamp", "brand": "", "attributes": "tall\nbright"},
    ]
    assert split_of("lamp") == "dev"
    assert [(query.id, query.text, query.split) for query in shop.all_queries] == [
        ("11", "couch", "train"),
        ("13", "lamp", "dev"),
        ("14", "desk", "test"),
    ]
    assert shop.qrels.toarray().tolist() == [[4, 3], [1, 2], [0, 1]]
    assert shop.report is not None
    assert "esci: 1 products without a title are left out" in shop.report.notes
    assert "esci: 1 labels of unknown products are left out" in shop.report.notes


def test_esci_is_converted_once_and_again_when_its_files_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_esci(tmp_path / "esci")
    first = load_shop("esci", data=str(tmp_path)).hash
    with monkeypatch.context() as patch:
        patch.setattr(esci, "convert", lambda *_: pytest.fail("converted again"))
        assert load_shop("esci", data=str(tmp_path)).hash == first
    table = pq.read_table(tmp_path / "esci" / esci.PRODUCTS.name)
    pq.write_table(table.slice(0, 3), tmp_path / "esci" / esci.PRODUCTS.name)
    assert load_shop("esci", data=str(tmp_path)).hash == first
    pq.write_table(table.slice(0, 2), tmp_path / "esci" / esci.PRODUCTS.name)
    assert load_shop("esci", data=str(tmp_path)).hash != first


def test_a_failed_conversion_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    write_esci(tmp_path / "esci")
    pq.write_table(pa.table({"query": ["couch"]}), tmp_path / "esci" / esci.EXAMPLES.name)
    with pytest.raises(DataError, match="not in the format of upstream's files"):
        load_shop("esci", data=str(tmp_path))
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def write_icecat(folder: Path) -> None:
    folder.mkdir(parents=True)
    products = [
        {
            "id": 77,
            "title": "HP Notebook",
            "short_description": "Core 2 Duo",
            "supplier": "HP",
            "price": 499.5,
            "attr_t_product_colour": "Silver",
            "attr_n_display_diagonal": 17.0,
            "attr_t_ports": ["USB", "HDMI"],
        },
        {"id": "78", "title": "Brother LC51C", "supplier": "Brother"},
    ]
    text = json.dumps(products).encode()
    with tarfile.open(folder / icecat.PRODUCTS.name, "w:gz") as archive:
        member = tarfile.TarInfo("icecat-products.json")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    with (folder / icecat.RATINGS.name).open("w", newline="") as handle:
        rows = [("query", "docid", "rating"), ("laptop", 77, 3), ("laptop", 78, 0), ("ink", 78, 2), ("tv", 5, 3)]
        csv.writer(handle).writerows(rows)


def test_icecat_from_upstream_files(tmp_path: Path) -> None:
    write_icecat(tmp_path / "icecat")
    shop = load_shop("icecat", data=str(tmp_path))
    first = shop.product(0)
    assert (first.id, first.brand, first.color, first.price) == ("77", "HP", "Silver", 499.5)
    assert first.attributes == "product colour: Silver | display diagonal: 17.0 | ports: USB, HDMI"
    assert [(query.text, query.split) for query in shop.all_queries] == [("ink", "test"), ("laptop", "test")]
    assert shop.qrels.toarray().tolist() == [[0, 3], [4, 1]]
    assert shop.report is not None
    assert "icecat: 1 ratings of products outside the catalogue are left out" in shop.report.notes
    (tmp_path / "icecat" / icecat.PRODUCTS.name).write_bytes(b"not an archive")
    with pytest.raises(DataError, match="no archive with a JSON array"):
        load_shop("icecat", data=str(tmp_path))


@pytest.mark.skipif(not (SHARED / "icecat").is_dir(), reason=f"{SHARED}/icecat is not there")
@pytest.mark.parametrize("way", ["DIR", "DIR/icecat", "QR_DATA"])
def test_the_real_icecat(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QR_DATA", str(SHARED))
    data = {"DIR": str(SHARED), "DIR/icecat": str(SHARED / "icecat"), "QR_DATA": None}[way]
    shop = load_shop("icecat", data=data)
    assert (len(shop.products), len(shop.queries), shop.qrels.nnz) == (19_406, 89, 2_632)
    assert {query.split for query in shop.all_queries} == {"test"}
    assert [int((shop.qrels.data == level).sum()) for level in (1, 2, 3, 4)] == [1_347, 155, 81, 1_049]


def test_a_data_folder_without_the_files_raises_with_their_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither there nor in .*wands.*products\.\*.*product\.csv, query\.csv, label"):
        load_shop("wands", data=str(tmp_path))


def test_without_network_the_error_describes_the_manual_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(download, "urlopen", offline)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    place = tmp_path / "cache" / "shops" / "wands" / "product.csv"
    with pytest.raises(DownloadError, match=rf"unreachable.*by hand to {place}, or name .* data=DIR"):
        load_shop("wands")
    write_wands(place.parent.with_name("put"))
    for name in ("product.csv", "query.csv", "label.csv"):
        place.with_name(name).write_bytes((place.parent.with_name("put") / name).read_bytes())
    assert len(load_shop("wands").products) == 2
    assert set(json.loads(place.with_name(LOCK).read_text())) == {"product.csv", "query.csv", "label.csv"}


def test_upstream_addresses_are_pinned() -> None:
    remotes: list[Remote] = [*wands.FILES, esci.EXAMPLES, esci.PRODUCTS, icecat.RATINGS, icecat.PRODUCTS]
    assert all(remote.url.startswith("https://") and remote.url.endswith(remote.name) for remote in remotes)
    assert all("/main/" not in remote.url and "/master/" not in remote.url for remote in remotes)
    assert [len(remote.sha256) for remote in (esci.EXAMPLES, esci.PRODUCTS)] == [64, 64]
    assert not public.has_our_format(Path("/nowhere"))
