"""Packed files, encodings, and files that are no table: read, or refused as what they are."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qr_env.common.errors import BadRowError, ConfigError, DataError
from qr_env.shop.load import load_shop
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import read_folder

CSV = b"product_id,title\n1,sofa\n2,lamp\n"
QUERIES = b"query\ncouch\n"
JSONL = b'{"product_id": 1, "title": "sofa"}\n{"product_id": 2, "title": "lamp"}\n'
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
SIGN_IN = b"<!DOCTYPE html>\n<html><head><title>Sign in</title>"


def zipped(**members: bytes) -> bytes:
    """A zip archive; "__" stands for "." in the members' names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


def shop_of(folder: Path, name: str, content: bytes, options: ReadOptions | None = None) -> Shop:
    (folder / "queries.csv").write_bytes(QUERIES)
    (folder / name).write_bytes(content)
    return read_folder(folder, options)


def parquet(compression: str = "snappy") -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"product_id": ["1", "2"], "title": ["sofa", "lamp"]}), buffer, compression=compression)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("products.csv.gz", gzip.compress(CSV)),
        ("Products.CSV.GZ", gzip.compress(CSV)),
        ("products.csv.bz2", bz2.compress(CSV)),
        ("products.csv.xz", lzma.compress(CSV)),
        ("products.tsv.gz", gzip.compress(CSV.replace(b",", b"\t"))),
        (
            "products.jsonl.gz",
            gzip.compress(JSONL),
        ),
        ("products.parquet.gz", gzip.compress(parquet())),
        ("products.zip", zipped(export__csv=CSV)),
        ("products.csv.zip", zipped(export__csv=CSV)),
        ("products.zip", zipped(readme__txt=b"hello", products__csv=CSV)),
        ("products.zip", zipped(products__parquet=parquet())),
        ("products.txt", CSV.replace(b",", b"\t")),
        ("products.csv", b"\xef\xbb\xbf" + CSV),
        ("products.csv", CSV.decode().encode("utf-16")),
        ("products.tsv", b"\xff\xfe" + CSV.decode().replace(",", "\t").encode("utf-16-le")),
        ("products.csv", b"\xfe\xff" + CSV.decode().encode("utf-16-be")),
        ("products.csv", CSV.decode().encode("utf-32")),
        ("products.csv.gz", gzip.compress(CSV.decode().encode("utf-16"))),
    ],
)
def test_packed_files_and_marked_encodings_are_read(tmp_path: Path, name: str, content: bytes) -> None:
    assert shop_of(tmp_path, name, content).titles == ["sofa", "lamp"]


def test_qrels_and_queries_may_be_packed_too(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_bytes(CSV)
    (tmp_path / "queries.csv.gz").write_bytes(gzip.compress(b"query_id,query\n7,couch\n"))
    (tmp_path / "qrels.trec.gz").write_bytes(gzip.compress(b"7 0 1 3\n"))
    assert read_folder(tmp_path).qrels.toarray().tolist() == [[4, 0]]


def test_a_single_packed_file_is_a_shop(tmp_path: Path) -> None:
    (tmp_path / "garden.csv.gz").write_bytes(gzip.compress(CSV))
    shop = load_shop(str(tmp_path / "garden.csv.gz"))
    assert (shop.name, shop.titles) == ("garden", ["sofa", "lamp"])


def sqlite(folder: Path) -> bytes:
    with sqlite3.connect(folder / "x.db") as base:
        base.execute("create table products (product_id, title)")
    base.close()
    return (folder / "x.db").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "products.csv",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "a Git LFS pointer.*lfs pull",
        ),
        (
            "products.parquet",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "a Git LFS pointer",
        ),
        ("products.csv", b"/annex/objects/SHA256E-s1--0.csv\n", "a git-annex pointer"),
        (
            "products.csv",
            b"<!DOCTYPE html>\n<html><head><title>Sign in</title>",
            r"an HTML page \('Sign in'\).*download",
        ),
        ("products.jsonl", b"\n <HTML lang=en><body>404 Not Found", "an HTML page"),
        ("products.csv", b'<?xml version="1.0"?><rss version="2.0">', "an XML file"),
        ("products.csv", zipped(products__csv=CSV), "a zip archive: name it products.csv.zip"),
        ("products.csv", zipped(**{"[Content_Types]__xml": b"<x/>", "xl/workbook__xml": b"<x/>"}), "an Excel workbook"),
        ("products.xlsx", zipped(**{"[Content_Types]__xml": b"<x/>"}), "an Excel workbook.*save the sheet as CSV"),
        ("products.zip", zipped(**{"[Content_Types]__xml": b"<x/>"}), "an Excel workbook"),
        ("products.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(9), "an old Excel"),
        ("products.csv", parquet(), "a Parquet file: name it products.parquet"),
        ("products.csv", gzip.compress(CSV), "a gzip file: name it products.csv.gz"),
        ("products.csv.gz", gzip.compress(gzip.compress(CSV)), "a gzip file"),
        ("products.csv", b"%PDF-1.7\n%", "a PDF"),
        ("products.csv", b"\x28\xb5\x2f\xfd\x00", "Zstandard"),
        ("products.parquet", pickle.dumps({"title": "sofa"}), "a Python pickle, which may run code"),
        ("products.csv", b'{"product_id": 1, "title": "sofa"}\n', "this is JSON.*name it products.jsonl"),
        ("products.csv", b'[{"product_id": 1, "title": "sofa"}]\n', "this is JSON"),
        ("products.jsonl", CSV, "this is not JSON, it begins with 'product_id,title'.*name it products.csv"),
        ("products.csv", b"", "the file is empty"),
        ("products.csv", b"\xef\xbb\xbf", "the file is empty"),
        ("products.csv", b"\n \n\n", "the file is empty"),
        ("products.csv.gz", CSV, "ends in .gz, but this is text, not packed: name it products.csv"),
        ("products.zip", parquet(), "ends in .zip, but this is a Parquet file"),
        ("products.csv.gz", gzip.compress(CSV * 5_000)[:-40], "damaged or cut off"),
        ("products.csv.gz", gzip.compress(CSV)[:-9] + bytes(9), "damaged or cut off"),
        ("products.csv.xz", lzma.compress(CSV * 5_000)[:-40], "damaged or cut off"),
        ("products.zip", zipped(a__csv=CSV, b__csv=CSV), r"the archive holds 2 files \(a.csv, b.csv\)"),
        ("products.zip", zipped(), "the archive holds no file"),
        (
            "products.zip",
            zipped(products__csv=b"<html>login</html>"),
            r"products.zip \(products.csv\): this is an HTML page",
        ),
        (
            "products.csv",
            CSV.decode().encode("utf-16-le"),
            "UTF-16 without its .* mark; pass encoding='utf-16-le'",
        ),
        ("products.csv", CSV.decode().encode("utf-16-be"), "pass encoding='utf-16-be'"),
        ("products.tar.gz", gzip.compress(CSV), "unknown format '.tar'"),
    ],
)
def test_what_is_no_table_is_named_as_what_it_is(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        shop_of(tmp_path, name, content)


def test_a_database_and_a_locked_archive_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="an SQLite database"):
        shop_of(tmp_path, "products.csv", sqlite(tmp_path))
    (tmp_path / "products.csv").unlink()
    locked = bytearray(zipped(products__csv=CSV))
    locked[6] |= 1  # the flag of encryption, in the member's header and in the directory
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DataError, match="has a password"):
        shop_of(tmp_path, "products.zip", bytes(locked))


WINDOWS = "product_id,title\n1,Café Table\n2,lamp\n3,Größe 5 €\n".encode("cp1252")


def test_windows_1252_is_told_and_read_when_asked(tmp_path: Path) -> None:
    with pytest.raises(
        BadRowError, match=r"products\.csv:2: not UTF-8 \(Windows-1252.*'Café Table'; pass encoding='cp1252'"
    ):
        shop_of(tmp_path, "products.csv", WINDOWS)
    shop = read_folder(tmp_path, ReadOptions(on_bad_row="skip"))
    assert shop.titles == ["lamp"]
    assert shop.report is not None
    assert any("rows that are not UTF-8: 2; encoding='cp1252'" in note for note in shop.report.notes)
    assert read_folder(tmp_path, ReadOptions(encoding="cp1252")).titles == ["Café Table", "lamp", "Größe 5 €"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("красный диван", "cp1251"),
        ("赤いランプ", "shift_jis"),
        ("红色的灯", "gb18030"),
        ("빨간 램프", "cp949"),
        ("κόκκινη λάμπα", "iso8859_7"),
    ],
)
def test_another_encoding_is_told_and_read_when_named(tmp_path: Path, text: str, encoding: str) -> None:
    content = f"product_id,title\n1,{text}\n2,lamp\n".encode(encoding)
    with pytest.raises(BadRowError, match=r"not UTF-8 .*encoding"):
        shop_of(tmp_path, "products.csv", content)
    assert read_folder(tmp_path, ReadOptions(encoding=encoding)).titles == [text, "lamp"]


def test_a_damaged_row_of_a_utf_8_file_is_no_reason_for_another_encoding(tmp_path: Path) -> None:
    content = "product_id,title\n1,Café\n2,Größe\n".encode() + b"3,caf\xe9\n"
    with pytest.raises(BadRowError, match=r"products\.csv:4: not UTF-8: ") as caught:
        shop_of(tmp_path, "products.csv", content)
    assert "cp1252" not in str(caught.value)


def test_a_header_in_another_encoding_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the column 'Gr\\udcf6sse' is not UTF-8 \(Windows-1252"):
        shop_of(tmp_path, "products.csv", "product_id,title,Grösse\n1,sofa,L\n".encode("latin-1"))


def test_a_byte_that_the_named_encoding_lacks_is_a_dirty_row(tmp_path: Path) -> None:
    options = ReadOptions(encoding="cp1252", on_bad_row="skip")
    shop = shop_of(tmp_path, "products.csv", b"product_id,title\n1,caf\xe9\n2,la\x81mp\n", options)
    assert shop.titles == ["café"]
    assert shop.report is not None
    assert [(bad.line, bad.reason) for bad in shop.report.bad_rows] == [(3, "not cp1252")]


@pytest.mark.parametrize("encoding", ["windows-99", "base64", "rot13"])
def test_an_unknown_encoding_is_a_wrong_setting(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(ConfigError, match=f"encoding='{encoding}': no such text encoding; examples are utf-8, cp1252"):
        shop_of(tmp_path, "products.csv", CSV, ReadOptions(encoding=encoding))


def test_one_setting_is_for_all_files_but_those_that_are_utf_8(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_bytes(WINDOWS)
    (tmp_path / "queries.csv").write_bytes("query\ncafé\n".encode())
    shop = read_folder(tmp_path, ReadOptions(encoding="cp1252"))
    assert (shop.titles[0], shop.all_queries[0].text) == ("Café Table", "café")
    assert shop.report is not None
    assert "queries.csv: read as UTF-8, for that it is, not as cp1252" in shop.report.notes


def test_a_mark_goes_before_the_named_encoding(tmp_path: Path) -> None:
    content = "product_id,title\n1,café\n".encode("utf-16")
    assert shop_of(tmp_path, "products.csv", content, ReadOptions(encoding="cp1252")).titles == ["café"]
    named = ReadOptions(encoding="utf-16-le")
    assert shop_of(tmp_path, "products.csv", "product_id,title\n1,café\n".encode("utf-16-le"), named).titles == ["café"]


def test_a_folder_of_parts_is_named(tmp_path: Path) -> None:
    (tmp_path / "products.parquet").mkdir()
    (tmp_path / "products.parquet" / "part-00000.parquet").write_bytes(parquet())
    with pytest.raises(DataError, match=r"products.parquet: this is a folder of parts, as Spark writes them"):
        shop_of(tmp_path, "other.csv", CSV)


def test_an_accident_of_bytes_hides_no_windows_1252(tmp_path: Path) -> None:
    text = "product_id,title\n1,Café\n2,Tisch “groß”\n3,Lampe\n"  # ß” has the bytes of a character in UTF-8
    (tmp_path / "queries.csv").write_text("query\nlamp\n")
    (tmp_path / "products.csv").write_bytes(text.encode("cp1252"))
    with pytest.raises(BadRowError, match="Windows-1252, it seems: then it reads 'Café'"):
        read_folder(tmp_path)


def test_zero_bytes_and_printed_tables_are_named(tmp_path: Path) -> None:
    (tmp_path / "queries.csv").write_text("query\nlamp\n")
    path = tmp_path / "products.csv"
    path.write_bytes(bytes(5000))
    with pytest.raises(DataError, match="a file of zero bytes"):
        read_folder(tmp_path)
    for page in ('<div class="error">Session expired</div>', "<table><tr><th>id</th></tr></table>"):
        path.write_text(page)
        with pytest.raises(DataError, match="an HTML page"):
            read_folder(tmp_path)
    psql = " id | name\n----+------\n  1 | sofa\n(1 row)\n"
    mysql = "+----+------+\n| id | name |\n+----+------+\n|  1 | sofa |\n+----+------+\n"
    for text in (psql, mysql, "| id | name |\n|:---|---:|\n| 1 | sofa |\n"):
        path.write_text(text)
        with pytest.raises(DataError, match="a table as a terminal or Markdown shows it; export it as CSV"):
            read_folder(tmp_path)
