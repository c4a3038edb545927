"""Download files with a progress bar, resumption and checksums.

    path = fetch(Remote("https://…/products.parquet", "products.parquet", sha256="2512…"), cache_root() / "shops")

A download is written to NAME.part and renamed to NAME when its checksum is right: files in the cache are complete.
Without a pinned checksum, the checksum of the first download is written to downloads.lock.json in the same folder, and
later downloads must agree with it. This detects changes, but not a first download that was already wrong.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from qr_env.common.atomic_io import atomic_write
from qr_env.common.errors import DownloadError
from qr_env.common.hashing import sha256_file

LOCK = "downloads.lock.json"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to download."""

    url: str
    """Its address."""
    name: str
    """Its file name in the cache."""
    sha256: str = ""
    """Pinned SHA-256 in hexadecimal; "" if none is known."""
    size: int = 0
    """Bytes; 0 if unknown."""


class _ConnectionLost(OSError):
    """The connection ended before the whole file was received."""


def cache_root() -> Path:
    """Folder of downloads, weights and indexes: $QR_CACHE, else $XDG_CACHE_HOME/qr-env, else ~/.cache/qr-env."""
    if chosen := os.environ.get("QR_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "qr-env"


def fetch(remote: Remote, folder: Path, attempts: int = 4, timeout: float = 30.0, pause: float = 1.0) -> Path:
    """Path of the file in `folder`; it is downloaded if it is not there, and its checksum is verified.

    Args:
        attempts: number of connections before giving up; each resumes where the last one broke.
        timeout: seconds without data after which a connection counts as broken.
        pause: seconds before the second attempt; doubles with each.

    Raises:
        DownloadError: the download failed, or the checksum is wrong. A wrong file is deleted; after a broken
            connection NAME.part is kept and the next call resumes it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / remote.name
    if not target.is_file():
        part = target.with_name(f"{remote.name}.part")
        _download(remote, part, target, attempts, timeout, pause)
        _check(remote, part, folder, target)
        part.replace(target)
        return target
    _check(remote, target, folder, target)
    return target


def _download(remote: Remote, part: Path, target: Path, attempts: int, timeout: float, pause: float) -> None:
    for attempt in range(attempts):
        try:
            _transfer(remote, part, timeout)
            return
        except HTTPError as error:
            error.close()
            if error.code < 500 or attempt == attempts - 1:
                raise DownloadError(_failure_message(remote, target, f"HTTP {error.code} {error.reason}")) from None
        except (OSError, HTTPException, ValueError) as error:
            if attempt == attempts - 1 or isinstance(error, ValueError):
                raise DownloadError(_failure_message(remote, target, str(error) or type(error).__name__)) from None
        time.sleep(pause * 2**attempt)


def _failure_message(remote: Remote, target: Path, why: str) -> str:
    return (
        f"{remote.url} could not be downloaded ({why}). Try again, or download the file by hand to {target}, "
        f"or name the folder that holds {remote.name} with data=DIR"
    )


def _transfer(remote: Remote, part: Path, timeout: float) -> None:
    """One connection: append the missing bytes to `part`, or start over where the server cannot resume."""
    have = part.stat().st_size if part.exists() else 0
    if have and have == remote.size:
        return
    headers = {"User-Agent": "qr-env", "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response: HTTPResponse = urlopen(Request(remote.url, headers=headers), timeout=timeout)
    except HTTPError as error:
        if error.code != 416 or not have:
            raise
        _handle_range_error(part, have, error)
        return
    with response:
        _append(response, part, have, remote.name)


def _append(response: HTTPResponse, part: Path, have: int, name: str) -> None:
    resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    have = have if resumed else 0
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    with (
        part.open("ab" if resumed else "wb") as handle,
        tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=name) as bar,
    ):
        while block := response.read(_BLOCK):
            handle.write(block)
            bar.update(len(block))
    got = part.stat().st_size
    if total is not None and got < total:
        raise _ConnectionLost(f"the connection ended after {got:,} of {total:,} bytes")


def _handle_range_error(part: Path, have: int, error: HTTPError) -> None:
    """HTTP 416, no bytes after ours: keep the part if it has the length of the file, else delete it and retry."""
    total = re.search(r"\*/(\d+)", error.headers.get("Content-Range", ""))
    error.close()
    if total is None or int(total[1]) != have:
        part.unlink()
        raise _ConnectionLost(f"{part.name} held {have:,} bytes, more than the file has")


def _check(remote: Remote, path: Path, folder: Path, target: Path) -> None:
    """Compare the checksum with the pinned one, or with the first download's; a wrong .part is deleted."""
    lock = _read_lock(folder)
    first = lock.get(remote.name, {})
    wanted = remote.sha256 or (first.get("sha256", "") if first.get("url") == remote.url else "")
    found = sha256_file(path)
    if not wanted:
        lock[remote.name] = {"url": remote.url, "sha256": found, "size": path.stat().st_size}
        atomic_write(folder / LOCK, json.dumps(lock, indent=2, sort_keys=True) + "\n")
    elif found != wanted:
        size = path.stat().st_size
        if path != target:
            path.unlink()
        pin = "the pinned" if remote.sha256 else f"the first download's (in {folder / LOCK})"
        way = "It was deleted; try again" if path != target else f"Delete {path} to download it again"
        raise DownloadError(
            f"{remote.url}: SHA-256 {found} of {size:,} bytes is not {pin} {wanted}. {way}, or download the right file "
            f"by hand to {target}"
        )


def _read_lock(folder: Path) -> dict[str, dict[str, str | int]]:
    path = folder / LOCK
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (ValueError, TypeError):
        raise DownloadError(f"{path} is damaged: delete it, and the checksums are recorded again") from None
