"""SHA-256 of texts and files as hexadecimal digits: keys of caches, stores, prompts and checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def sha256_text(text: str, digits: int = 64) -> str:
    """The first `digits` hexadecimal digits of a text's SHA-256; the text as UTF-8, lone surrogates included."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def sha256_file(path: Path) -> str:
    """The 64 hexadecimal digits of a file's SHA-256, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_files(folder: Path, files: Iterable[Path], prefix: str = "") -> str:
    """One SHA-256 over `prefix` and, in the given order, the path inside `folder` and the SHA-256 of each file."""
    digest = hashlib.sha256(prefix.encode())
    for path in files:
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(bytes.fromhex(sha256_file(path)))
    return digest.hexdigest()
