"""Shops by name: the generated benchmark, three public data sets, and your own files.

shop = load_shop("generated")                        # the benchmark, also under its version: "generated-v1"
shop = load_shop("icecat", data="../shared/data")
shop = load_shop("my_folder", on_bad_row="skip")
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from qr_env.common.errors import ConfigError, DataError
from qr_env.shop.generated.generate import BENCHMARK, generate
from qr_env.shop.shop import Shop
from qr_env.shop.sources import esci, icecat, wands
from qr_env.shop.sources.files import read_folder

PUBLIC: dict[str, Callable[[str | None, str], Shop]] = {"icecat": icecat.load, "esci": esci.load, "wands": wands.load}

log = logging.getLogger("qr_env.shop.load")


def load_shop(source: str, data: str | None = None, seed: int = 0, on_bad_row: str = "stop") -> Shop:
    """Load a shop.

    Args:
        source: "generated" or "generated-v1" (the same), "icecat", "esci", "wands", or the path of a folder or products
            file (`sources/files.py` has the format).
        data: folder with the files of a public shop, used instead of downloading; default: the environment variable
            QR_DATA. Both DIR and DIR/SOURCE are searched.
        seed: of the generated shop; the benchmark has seed 0.
        on_bad_row: "stop" raises at the first invalid row, "skip" leaves invalid rows out and logs a summary.

    Raises:
        ConfigError: an invalid setting.
        DataError: unknown source, or its files cannot be read. BadRowError: an invalid row, and on_bad_row is "stop".
        DownloadError: a public shop could not be downloaded.
    """
    if on_bad_row not in ("stop", "skip"):
        raise ConfigError(f"on_bad_row={on_bad_row!r}: must be 'stop' or 'skip'")
    if data is not None and source not in PUBLIC:
        raise ConfigError(f"--data {data} is only for {', '.join(PUBLIC)}; {source!r} needs no data folder")
    shop = _load(source, data or os.environ.get("QR_DATA"), seed, on_bad_row)
    if shop.report is not None and shop.report.bad_rows:
        # Without a logging configuration, Python prints warnings to stderr: the user sees them with any caller.
        log.warning("%s: %s", shop.name, shop.report.summary())
    return shop


def _load(source: str, data: str | None, seed: int, on_bad_row: str) -> Shop:
    if source in ("generated", BENCHMARK):
        return generate(seed=seed)
    if source in PUBLIC:
        return PUBLIC[source](data, on_bad_row)
    if not Path(source).exists():
        known = ", ".join(("generated", BENCHMARK, *PUBLIC))
        raise DataError(f"{source!r} is no shop: it must be one of {known}, or the path of a folder or products file")
    return read_folder(source, on_bad_row)
