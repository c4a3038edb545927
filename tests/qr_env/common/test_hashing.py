"""Digests equal hashlib's: keys of caches and stores depend on their exact digits."""

from __future__ import annotations

import hashlib
from pathlib import Path

from qr_env.common.hashing import sha256_file, sha256_files, sha256_text


def test_texts() -> None:
    assert sha256_text("café") == hashlib.sha256("café".encode()).hexdigest()
    assert sha256_text("café", 12) == hashlib.sha256("café".encode()).hexdigest()[:12]
    assert len(sha256_text("\ud800")) == 64, "lone surrogates have a digest too"


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"one")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.bin").write_bytes(b"two")
    assert sha256_file(tmp_path / "a.bin") == hashlib.sha256(b"one").hexdigest()
    content = b"start" + b"a.bin" + hashlib.sha256(b"one").digest() + b"sub/b.bin" + hashlib.sha256(b"two").digest()
    paths = [tmp_path / "a.bin", tmp_path / "sub" / "b.bin"]
    assert sha256_files(tmp_path, paths, prefix="start") == hashlib.sha256(content).hexdigest()
