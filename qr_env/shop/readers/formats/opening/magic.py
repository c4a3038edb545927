"""What a file is by its first bytes: a page, an archive or a workbook that is named like a table.

what_is(b"PK\\x03\\x04…")     # "a zip archive"
what_is(b"query_id,query")   # "", it may be a table
"""

from __future__ import annotations

import re

HEAD = 4096  # bytes that are looked at

# First bytes → what the file is and the way out.
SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"/annex/objects/", "a git-annex pointer, not the file itself: run `git annex get`"),
    (b"\x1f\x8b", "a gzip file: name it {name}.gz, or unpack it"),
    (b"BZh", "a bzip2 file: name it {name}.bz2, or unpack it"),
    (b"\xfd7zXZ\x00", "an xz file: name it {name}.xz, or unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file: unpack it with `zstd -d`"),
    (b"\x04\x22\x4d\x18", "an LZ4 file: unpack it with `lz4 -d`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it"),
    (b"PAR1", "a Parquet file: name it {stem}.parquet"),
    (b"ARROW1", "an Arrow (Feather) file: write it as Parquet"),
    (b"FEA1", "a Feather file: write it as Parquet"),
    (b"ORC", "an ORC file: write it as Parquet"),
    (b"Obj\x01", "an Avro file: write it as Parquet or JSON Lines"),
    (b"SQLite format 3\x00", "an SQLite database: export the table as CSV"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file: save the sheet as CSV (UTF-8)"),
    (b"%PDF", "a PDF: ask for the table as CSV"),
    (b"{\\rtf", "an RTF document: save it as plain text (CSV)"),
    (b"\x89HDF", "an HDF5 file: write it as Parquet"),
    (b"\x93NUMPY", "a NumPy file: write it as Parquet"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x7fELF", "a program"),
    (b"-----BEGIN ", "a key or an encrypted message in PEM form"),
)
_HTML = re.compile(
    rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|script|meta|title|div|table|form|center|h1|p|pre)\b",
    re.I | re.S,
)
_TITLE = re.compile(rb"<title[^>]*>\s*(.*?)\s*</title", re.I | re.S)
_XML = re.compile(rb"\s*<(\?xml|rss|feed|error|urlset)\b", re.I)


def what_is(start: bytes, name: str = "FILE", stem: str = "FILE") -> str:
    """The kind of a file that is no text table, with the way out; "" if it may be a table.

    Args:
        start: its first bytes, `HEAD` of them.
        name: its name, for the advice.
        stem: its name without suffix.
    """
    for signature, kind in SIGNATURES:
        if start.startswith(signature):
            return kind.format(name=name, stem=stem)
    if start.startswith(b"PK\x03\x04"):
        return _zip_kind(start, name)
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it"
    if start and not start.strip(b"\0"):
        return "a file of zero bytes, from a copy that broke off perhaps: copy or download it again"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a Python pickle, which may run code and is never read: write it as Parquet"
    text = start.removeprefix(b"\xef\xbb\xbf")
    if _HTML.match(text):
        return f"an HTML page{_title(text)}, a login or error page perhaps: download the file again"
    if _XML.match(text):
        return "an XML file: export it as CSV, TSV or JSON Lines"
    return ""


def _zip_kind(start: bytes, name: str) -> str:
    """Office documents are zip archives whose first members have known names."""
    if b"[Content_Types].xml" in start or b"xl/" in start[:200]:
        return "an Excel workbook (or another Office document): save the sheet as CSV (UTF-8)"
    if b"mimetypeapplication/vnd.oasis.opendocument" in start[:200]:
        return "an OpenDocument file: save the sheet as CSV (UTF-8)"
    return f"a zip archive: name it {name}.zip, or unpack it"


def _title(page: bytes) -> str:
    found = _TITLE.search(page)
    return f" ({found.group(1).decode('utf-8', 'replace')[:60]!r})" if found else ""
