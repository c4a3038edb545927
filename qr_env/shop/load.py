"""Shops by name: the generated benchmark, three public data sets, and your own files.

shop = load_shop("generated")                        # the benchmark, also under its version: "generated-v1"
shop = load_shop("icecat", data="../shared/data")
shop = load_shop("my_folder", options=ReadOptions(on_bad_row="skip"))
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from qr_env.common.errors import ConfigError, DataError
from qr_env.language.codes import language
from qr_env.shop.generated.generate import BENCHMARK, generate
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from qr_env.shop.sources import esci, icecat, wands
from qr_env.shop.sources.files import read_folder

Reader = Callable[[str | None, ReadOptions], Shop]

PUBLIC: dict[str, Reader] = {"icecat": icecat.load, "esci": esci.load, "wands": wands.load}


def load_shop(source: str, data: str | None = None, seed: int = 0, options: ReadOptions | None = None) -> Shop:
    """Load a shop.

    Args:
        source: "generated" or "generated-v1" (the same), "icecat", "esci", "wands", or the path of a folder or products
            file (`sources/files.py` has the format).
        data: folder with the files of a public shop, used instead of downloading; default: the environment variable
            QR_DATA. Both DIR and DIR/SOURCE are searched.
        seed: of the generated shop; the benchmark has seed 0.
        options: how files are read; by default an invalid row raises, and everything else is told from the files.

    Raises:
        ConfigError: an invalid setting.
        DataError: unknown source, or its files cannot be read. BadRowError: an invalid row that options do not skip.
        DownloadError: a public shop could not be downloaded.
    """
    options = options or ReadOptions()
    options.check()
    if data is not None and source not in PUBLIC:
        raise ConfigError(f"data={data!r} is only for {', '.join(PUBLIC)}; {source!r} needs no data folder")
    shop = _load(source, data or os.environ.get("QR_DATA"), seed, options)
    if shop.report is not None:
        shop.report.warn(shop.name)
    return shop


def _load(source: str, data: str | None, seed: int, options: ReadOptions) -> Shop:
    if source in ("generated", BENCHMARK):
        if options.language and language(options.language).code != "en":
            raise ConfigError(f"language={options.language!r}: the generated shop is English; leave it out")
        return generate(seed=seed)
    if source in PUBLIC:
        return PUBLIC[source](data, options)
    if not Path(source).exists():
        known = ", ".join(("generated", BENCHMARK, *PUBLIC))
        raise DataError(f"{source!r} is no shop: it must be one of {known}, or the path of a folder or products file")
    return read_folder(source, options)
