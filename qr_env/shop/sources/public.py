"""Locate the files of a public shop, locally or by download.

folder = locate("wands", FILES, data=None)   # DIR, DIR/wands, $QR_DATA, $QR_DATA/wands, or the download cache
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qr_env.common.download import Remote, cache_root, fetch
from qr_env.common.errors import DataError
from qr_env.shop.readers.formats.by_suffix import files_of


def locate(name: str, remotes: Sequence[Remote], data: str | None) -> Path:
    """The folder with a public shop's files, upstream's or in our format (see `has_our_format`).

    Args:
        name: name of the shop, and of its sub-folder in `data` and $QR_DATA.
        remotes: upstream's files, all required; downloaded if no local folder has them.
        data: a folder that must have them; None looks in $QR_DATA, then downloads.

    Raises:
        DataError: `data` has neither format. DownloadError: a download failed.
    """
    names = [remote.name for remote in remotes]
    if data is not None:
        if found := _local(Path(data), name, names):
            return found
        raise DataError(
            f"{data}: neither there nor in {Path(data) / name} is a shop in our format (products.* and queries.*) "
            f"or upstream's {', '.join(names)}"
        )
    if (place := os.environ.get("QR_DATA")) and (found := _local(Path(place), name, names)):
        return found
    folder = cache_root() / "shops" / name
    for remote in remotes:
        fetch(remote, folder)
    return folder


def has_our_format(folder: Path) -> bool:
    """Whether the folder holds products.* and queries.* as `files.py` reads them."""
    return folder.is_dir() and all(files_of(folder, stem) for stem in ("products", "queries"))


def _local(place: Path, name: str, names: list[str]) -> Path | None:
    for folder in (place, place / name):
        if has_our_format(folder) or all((folder / each).is_file() for each in names):
            return folder
    return None
