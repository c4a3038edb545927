"""The flags of every verb that reads a shop: where its files are, and how they are read.

@dataclass
class Args(ReadArgs):               # runs/VERB/args.py
    shop: str = "generated"

shop = load_shop(args.shop, args.data, options=args.read_options())
"""

from __future__ import annotations

from dataclasses import dataclass

from qr_env.shop.readers.options import ReadOptions


@dataclass(kw_only=True)
class ReadArgs(ReadOptions):
    """Settings that the verbs share that read a shop."""

    data: str | None = None
    """Folder with the files of icecat, esci or wands; by default $QR_DATA, else they are downloaded."""
