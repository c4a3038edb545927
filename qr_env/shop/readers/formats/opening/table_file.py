"""Open a file that holds a table: plain, gz, bz2, xz or zip, in its encoding; anything else is refused as what it is.

file = open_table(Path("products.csv.gz"))      # TableFile(suffix=".csv", …)
with file.text() as handle:
    first_line = next(handle)
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from qr_env.common.errors import DataError
from qr_env.shop.readers.formats.opening.encodings import (
    UTF8,
    check_encoding,
    is_utf8_all_the_same,
    marked_encoding,
    without_mark,
)
from qr_env.shop.readers.formats.opening.magic import HEAD, what_is

Opener = Callable[[Path], IO[bytes]]
PACKED = {".gz": cast(Opener, gzip.open), ".bz2": cast(Opener, bz2.open), ".xz": cast(Opener, lzma.open)}
SAMPLE = 16 * 1024 * 1024  # bytes that are decoded to see whether a file is UTF-8
PACKED_SUFFIXES = (*PACKED, ".zip")
_PACK_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile)


@dataclass(frozen=True)
class TableFile:
    """A file with a table, unpacked where it is packed."""

    path: Path
    """The file on disk, for messages."""
    suffix: str
    """Format of the table, lower case: ".csv" of products.csv, products.csv.gz, and products.zip that holds a CSV."""
    member: str
    """Its name in the zip archive; "" for other files."""
    encoding: str
    """Python codec of its text."""
    note: str = ""
    """What the user should know about its encoding; "" for nothing."""

    @contextmanager
    def binary(self) -> Iterator[IO[bytes]]:
        """Its unpacked bytes. Raises DataError when packed data are damaged."""
        with packing_errors(self.path), _open_bytes(self.path, self.member) as handle:
            yield handle

    @contextmanager
    def text(self, newline: str | None = "") -> Iterator[IO[str]]:
        """Its text. Undecodable bytes become lone surrogates, so that their row can be reported."""
        with self.binary() as handle:
            errors = "replace" if self.encoding.lower().startswith(("utf-16", "utf-32", "utf_")) else "surrogateescape"
            yield io.TextIOWrapper(handle, self.encoding, errors, newline)


def open_table(path: Path, encoding: str = "", stem: str = "") -> TableFile:
    """Look at a file's name and first bytes.

    Args:
        path: a file.
        encoding: Python codec; "" for UTF-8, or UTF-16 and UTF-32 with their byte-order mark.
        stem: name of the table, which chooses among several members of a zip archive.

    Raises:
        ConfigError: unknown encoding.
        DataError: there is no such file, it is empty, or it is no table.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
    packed = path.suffix.lower()
    if packed in PACKED_SUFFIXES:
        _check_packed(path, packed)
    member = _member(path, stem) if packed == ".zip" else ""
    with packing_errors(path), _open_bytes(path, member) as handle:
        start = handle.read(HEAD)
        sample = start + handle.read(SAMPLE) if encoding else start
    name = Path(member) if member else Path(path.stem) if packed in PACKED else path
    if not start:
        raise DataError(f"{_place(path, member)}: the file is empty; the first line must name the columns")
    if name.suffix.lower() in PACKED_SUFFIXES:
        raise DataError(f"{_place(path, member)}: this is packed twice; unpack it once")
    parquet = name.suffix.lower() == ".parquet" and start.startswith(b"PAR1")
    if not parquet and (kind := what_is(start, name.name, name.stem)):
        raise DataError(f"{_place(path, member)}: this is {kind}")
    codec = check_encoding(encoding)
    if parquet:
        return TableFile(path, ".parquet", member, UTF8)
    found, note = _encoding(path, sample, codec)
    return TableFile(path, name.suffix.lower(), member, found, note)


def table_name(path: Path) -> tuple[str, str]:
    """Stem and suffix of a file without those of its packing: products and .csv of products.csv.gz; .zip of a zip."""
    packed = path.suffix.lower()
    named = packed in PACKED or (packed == ".zip" and Path(path.stem).suffix[1:].isalpha())  # products.csv.zip
    inner = Path(path.stem) if named else path
    return inner.stem, inner.suffix.lower()


@contextmanager
def packing_errors(path: Path) -> Iterator[None]:
    """Damaged packed data, and files that may not be read, as DataError."""
    try:
        yield
    except _PACK_ERRORS as error:
        raise DataError(
            f"{path}: the packed data are damaged or cut off ({error}); download or pack it again"
        ) from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read this file") from None


def _encoding(path: Path, sample: bytes, asked: str) -> tuple[str, str]:
    """The encoding of a text that begins with these bytes, and a note where it is not the one that is asked for."""
    if marked := marked_encoding(sample):
        return marked, ""
    if not asked:
        if found := without_mark(sample[:64]):
            raise DataError(f"{path}: this looks like UTF-16 without its byte-order mark; pass encoding={found!r}")
        return UTF8, ""
    if asked == UTF8 or not is_utf8_all_the_same(sample, asked):
        return asked, ""
    return UTF8, "" if sample.isascii() else f"{path.name}: read as UTF-8, for that it is, not as {asked}"


def _open_bytes(path: Path, member: str) -> IO[bytes]:
    if not member:
        packed = path.suffix.lower()
        return PACKED[packed](path) if packed in PACKED else path.open("rb")
    try:
        return zipfile.ZipFile(path).open(member)
    except RuntimeError:  # encrypted
        raise DataError(f"{path}: {member!r} in this archive has a password; unpack it first") from None
    except NotImplementedError as error:
        raise DataError(f"{path}: {member!r} cannot be unpacked here ({error}); unpack it first") from None


def _check_packed(path: Path, suffix: str) -> None:
    """The file has the first bytes of its packing; what else it is, is named."""
    with packing_errors(path), path.open("rb") as handle:
        start = handle.read(HEAD)
    if not start:
        raise DataError(f"{path}: the file is empty")
    marks = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00", ".zip": b"PK"}
    if start.startswith(marks[suffix]):
        return
    kind = what_is(start, path.name, path.stem) or f"text, not packed: name it {path.stem}"
    raise DataError(f"{path}: its name ends in {suffix}, but this is {kind}")


def _member(path: Path, stem: str) -> str:
    """The one table in an archive; of several the one that is named like the table or the archive."""
    with packing_errors(path), zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
    if "[Content_Types].xml" in names:
        raise DataError(f"{path}: this is an Excel workbook or another Office document: save the sheet as CSV")
    tables = [name for name in names if not name.startswith("__MACOSX/") and not Path(name).name.startswith(".")]
    for wanted in dict.fromkeys((stem, table_name(path)[0])):
        if len(tables) > 1 and (found := [name for name in tables if Path(name).stem.lower() == wanted.lower()]):
            tables = found
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise DataError(f"{path}: the archive holds no file")
    listed = ", ".join(tables[:8]) + (", …" if len(tables) > 8 else "")
    raise DataError(f"{path}: the archive holds {len(tables)} files ({listed}); unpack the one that is meant")


def _place(path: Path, member: str) -> str:
    return f"{path} ({member})" if member else str(path)
