"""Shops by name: the generated default, three public ones, and your own files.

shop = load_shop("generated")
shop = load_shop("icecat", data="../shared/data")
shop = load_shop("my_folder", on_bad_row="skip")
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from qr_env.common.errors import ConfigError, DataError
from qr_env.shop.generated.generate import generate
from qr_env.shop.shop import Shop
from qr_env.shop.sources import esci, icecat, wands
from qr_env.shop.sources.files import read_folder

PUBLIC: dict[str, Callable[[str | None, str], Shop]] = {"icecat": icecat.load, "esci": esci.load, "wands": wands.load}

log = logging.getLogger("qr_env.shop.load")


def load_shop(source: str, data: str | None = None, seed: int = 0, on_bad_row: str = "stop") -> Shop:
    """Load a shop.

    Args:
        source: "generated", "icecat", "esci", "wands", or the path of a folder or products file (see `files.py`).
        data: folder with the files of a public shop, instead of downloading; default is the variable QR_DATA.
            Both DIR and DIR/SOURCE are looked at.
        seed: of the generated shop.
        on_bad_row: "stop" raises at the first dirty row, "skip" leaves such rows out and logs a summary.

    Raises:
        ConfigError: an impossible setting.
        DataError: no such source, or its files cannot be used. BadRowError: a dirty row, and on_bad_row is "stop".
        DownloadError: a public shop could not be fetched.
    """
    if on_bad_row not in ("stop", "skip"):
        raise ConfigError(f"on_bad_row={on_bad_row!r}: must be 'stop' or 'skip'")
    if data is not None and source not in PUBLIC:
        raise ConfigError(f"--data {data} is only for {', '.join(PUBLIC)}; {source!r} needs no data folder")
    shop = _load(source, data or os.environ.get("QR_DATA"), seed, on_bad_row)
    if shop.report is not None and shop.report.bad_rows:
        # Without a logging set-up, Python prints warnings to stderr: no caller can leave this out by forgetting it.
        log.warning("%s: %s", shop.name, shop.report.summary())
    return shop


def _load(source: str, data: str | None, seed: int, on_bad_row: str) -> Shop:
    if source == "generated":
        return generate(seed=seed)
    if source in PUBLIC:
        return PUBLIC[source](data, on_bad_row)
    if not Path(source).exists():
        known = ", ".join(("generated", *PUBLIC))
        raise DataError(f"{source!r} is no shop: it must be one of {known}, or the path of a folder or products file")
    return read_folder(source, on_bad_row)
